/* 32 registers of 16 numbers. */
#define VARIANT avx512
#define LANES 16
#define TILE_ROWS 12
#include "variant.h"
