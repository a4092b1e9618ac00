/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries to write to the executables of other processes, by every name that /proc has for them, until a file called /stop is there.
 * What it opens it keeps by O_PATH, and opens again when the process has ended and the file is not busy any more. Prints what it
 * could open to write.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT 64

static int kept[KEPT], count;

static void try_write(const char *path)
{
	char target[256] = "";
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	readlink(path, target, sizeof(target) - 1);
	if (write(fd, "overwritten", 11) == 11)
		printf("wrote to %s %s\n", path, target);
	fflush(stdout);
	close(fd);
}

static void visit(const char *pid)
{
	char path[64], self[64] = "", theirs[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/exe", pid);
	readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (readlink(path, theirs, sizeof(theirs) - 1) < 0 || !strcmp(self, theirs) || strstr(theirs, "busybox"))
		return;
	fd = open(path, O_PATH);
	if (fd < 0)
		return;
	/* The process may have executed the root's own program meanwhile. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memset(theirs, 0, sizeof(theirs));
	if (readlink(path, theirs, sizeof(theirs) - 1) < 0 || strstr(theirs, "busybox")) {
		close(fd);
		return;
	}
	printf("saw %s\n", theirs);
	fflush(stdout);
	if (count < KEPT)
		kept[count++] = fd;
	else
		close(fd);
}

int main(void)
{
	while (access("/stop", F_OK)) {
		DIR *d = opendir("/proc");
		struct dirent *e;

		while (d && (e = readdir(d)))
			if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
				visit(e->d_name);
		if (d)
			closedir(d);
		for (int i = 0; i < count; i++) {
			char path[64];

			snprintf(path, sizeof(path), "/proc/self/fd/%d", kept[i]);
			try_write(path);
		}
	}
	return 0;
}
