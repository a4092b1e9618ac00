# SPDX-License-Identifier: Apache-2.0
# Thin: what is built and how is in meson.build; what gets installed and fetched is in scripts/.
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS)

$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) --prefix $(PREFIX) $(MESON_OPTIONS)

# Installs missing packages; silent and offline when nothing is missing.
setup:
	@scripts/setup

# Kernel and root file system of the default guest.
guest: setup
	@scripts/guest $(BUILD)/guest

# Only what a run needs: the tests take as long to build as the rest.
binary: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) sextant sextant-vmm

run: setup binary guest
	@$(BUILD)/sextant run $(ARGS)

test: setup all guest
	@scripts/guest $(BUILD)/guest --tests
	@tests/run --build $(BUILD) $(ARGS)

bench: setup binary guest
	@bench/run --build $(BUILD) $(ARGS)

# The same tree with the address and undefined-behaviour sanitizers, in a directory of its own.
sanitize: setup
	@[ -f $(BUILD)-sanitize/build.ninja ] || meson setup $(BUILD)-sanitize -Db_sanitize=address,undefined
	@ninja -C $(BUILD)-sanitize -j $(JOBS)
	@for f in $(abspath $(BUILD))/guest/vmlinuz* $(abspath $(BUILD))/guest/initrd; do [ ! -f $$f ] || ln -sf $$f $(BUILD)-sanitize/guest/; done

# The default guest goes along if it was obtained.
install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install -C $(BUILD)
	@[ ! -f $(BUILD)/guest/initrd ] || install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/sextant $(BUILD)/guest/vmlinuz $(BUILD)/guest/initrd
	@[ ! -d $(BUILD)/guest/modules ] || (cd $(BUILD)/guest && find modules -name '*.ko' -exec install -D -m 644 {} $(abspath $(DESTDIR)$(PREFIX))/share/sextant/{} \;)

clean:
	rm -rf $(BUILD) $(BUILD)-sanitize

.PHONY: all binary setup guest run test bench sanitize install clean
