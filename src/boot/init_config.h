/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What src/boot tells guest/init.c: where its files are in the guest, and the format of its configuration: records that each
 * end in a NUL, the first byte being one of the letters below, the rest the value. A value may be empty.
 */
#pragma once

#define INIT_DIR     ".sextant" /* in the root directory; init removes it */
#define INIT_PROGRAM "init"
#define INIT_CONFIG  "config"
#define INIT_DRIVERS "drivers" /* a directory with modules 00, 01, ... to be loaded in that order */

#define INIT_ARGUMENT	 'A' /* in order; the first is CMD */
#define INIT_ENVIRONMENT 'E' /* NAME=VALUE */
#define INIT_WORKDIR	 'D'
#define INIT_MAKE_DIR	 'M' /* INIT_WORKDIR is made if it is missing; no value */
#define INIT_USER	 'U' /* "UID:GID:GROUP,GROUP": who CMD is run as, in decimal */
#define INIT_HOSTNAME	 'H'
#define INIT_SHARES	 'S' /* "TAG,TAG": shared folders to be mounted at /mnt/TAG */
#define INIT_NETWORK	 'N' /* eth0's "ADDRESS/BITS,GATEWAY,RESOLVER" */
#define INIT_COLUMNS	 'C' /* decimal */
#define INIT_ROWS	 'R'
#define INIT_PLAIN	 'P' /* "i", "o" or both: input, output of the console are no terminal */
