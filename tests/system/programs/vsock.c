/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock listen PORT: takes one connection, sends back what it gets until its end, and says "echoed BYTES".
 * vsock connect PORT: connects to the host, sends back what it gets, likewise. "refused" where it cannot connect.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* Not before the above. */
#include <linux/vm_sockets.h>

static long echo(int fd)
{
	static char buf[65536];
	long total = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(fd, buf + done, (size_t)(n - done));
			if (w <= 0)
				return -1;
		}
		total += n;
	}
	return n < 0 ? -1 : total;
}

int main(int argc, char **argv)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (argc != 3 || fd < 0) {
		perror("vsock");
		return 2;
	}
	a.svm_port = (unsigned)atoi(argv[2]);
	if (!strcmp(argv[1], "listen")) {
		a.svm_cid = VMADDR_CID_ANY;
		if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1)) {
			perror("listen");
			return 1;
		}
		puts("listening");
		fflush(stdout);
		fd = accept(fd, NULL, NULL);
	} else {
		a.svm_cid = VMADDR_CID_HOST;
		if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
			puts("refused");
			return 0;
		}
	}
	printf("echoed %ld\n", echo(fd));
	return 0;
}
