/* 16 registers of 8 numbers. */
#define VARIANT avx2
#define LANES 8
#define TILE_ROWS 6
#include "variant.h"
