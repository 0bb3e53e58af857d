/* 32 registers of 4 numbers. */
#define VARIANT neon
#define LANES 4
#define TILE_ROWS 12
#include "variant.h"
