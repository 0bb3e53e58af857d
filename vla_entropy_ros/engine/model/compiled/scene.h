/* What has changed in the picture, and how much there is to see in it: the rules of reuse/scene.py and scores.py. */
#ifndef SCENE_H
#define SCENE_H

#include "compiled.h"
#include "vectors.h"

#define CELLS 2 /* along a side of a patch */
#define VALUES (3 * CELLS * CELLS)
#define LEAST 4.0f
#define NOISY 3.0f
#define NOISE_MOST 4.0f
#define QUIET 4
#define GAIN_MOST 1.25
#define OFFSET_MOST 25.0
#define DARK 16.0f
#define BRIGHT 240.0f
#define SPREAD 25.0
#define GREY_LEVELS 256

typedef struct {
    double gain, offset;
} Step;

/* The number that has `rank` smaller ones before it, of numbers that are put in another order. */
static double ranked(double *values, int64_t count, int64_t rank) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        const double pivot = values[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot) i++;
            while (pivot < values[j]) j--;
            if (i > j) break;
            const double other = values[i];
            values[i++] = values[j];
            values[j--] = other;
        }
        if (rank <= j) high = j;
        else if (rank >= i) low = i;
        else break;
    }
    return values[rank];
}

/* Sums [3 * image] of the pixels above each other in row `cell` of a row of patches, a middle one by half; times 2
 * where there is a middle one. */
static void column_sums(const uint8_t *rows, int64_t line, int64_t patch, int64_t cell, uint32_t *sums) {
    const int64_t high = patch / 2, first = cell ? patch - high : 0;
    const uint32_t weight = patch % 2 ? 2 : 1;
    const uint8_t *middle = rows + high * line;
    for (int64_t x = 0; x < line; x++) sums[x] = patch % 2 ? middle[x] : 0;
    for (int64_t y = first; y < first + high; y++) {
        const uint8_t *from = rows + y * line;
        for (int64_t x = 0; x < line; x++) sums[x] += weight * from[x];
    }
}

/* Mean colours [3] of a cell, by those sums [3 * patch] of its patch: exact but for one division. */
static void cell_mean(const uint32_t *sums, int64_t patch, int64_t cell, float area, float *to) {
    const int64_t high = patch / 2, first = cell ? patch - high : 0;
    const uint32_t weight = patch % 2 ? 2 : 1;
    uint32_t red = 0, green = 0, blue = 0;
    for (int64_t x = first; x < first + high; x++) {
        red += sums[3 * x];
        green += sums[3 * x + 1];
        blue += sums[3 * x + 2];
    }
    const uint32_t *middle = sums + 3 * high;
    to[0] = (float)(weight * red + (patch % 2 ? middle[0] : 0)) / area;
    to[1] = (float)(weight * green + (patch % 2 ? middle[1] : 0)) / area;
    to[2] = (float)(weight * blue + (patch % 2 ? middle[2] : 0)) / area;
}

/* Means of the cells [grid^2, VALUES] of a frame [image, image, 3]. */
static void cell_means(const Scene *of, const uint8_t *frame, float *cells) {
    const int64_t line = 3 * of->image, patch = of->image / of->grid, high = patch / 2;
    const float area = (float)(patch % 2 ? patch * patch : high * high);
    for (int64_t row = 0; row < of->grid; row++)
        for (int64_t y = 0; y < CELLS; y++) {
            column_sums(frame + row * patch * line, line, patch, y, of->columns);
            for (int64_t column = 0; column < of->grid; column++) {
                float *to = cells + (row * of->grid + column) * VALUES + y * CELLS * 3;
                const uint32_t *sums = of->columns + 3 * column * patch;
                for (int64_t x = 0; x < CELLS; x++) cell_mean(sums, patch, x, area, to + 3 * x);
            }
        }
}

static float mean_of(const float *cells) {
    float whole = 0.0f;
    for (int n = 0; n < VALUES; n++) whole += cells[n];
    return whole / VALUES;
}

/* How the patches' means x [count] become y, see `relight` of scene.py; work [3, count]. */
static Step relight(int64_t count, const float *x, const float *y, double *work) {
    const Step none = {1.0, 0.0};
    double *a = work, *b = a + count, *off = b + count;
    int64_t lit = 0;
    for (int64_t n = 0; n < count; n++) {
        if (!(x[n] > DARK && y[n] > DARK && x[n] < BRIGHT && y[n] < BRIGHT)) continue;
        a[lit] = x[n];
        b[lit] = y[n];
        off[lit] = b[lit] / a[lit];
        lit++;
    }
    if (!lit || lit < count / 10) return none;
    Step step = {ranked(off, lit, lit / 2), 0.0};
    for (int turn = 0; turn < 2; turn++) {
        for (int64_t n = 0; n < lit; n++) off[n] = fabs(b[n] - (step.gain * a[n] + step.offset));
        const double most = 2.5 * ranked(off, lit, lit / 2) + 0.5;
        double close = 0.0, sum_a = 0.0, sum_b = 0.0, squares_a = 0.0, squares_b = 0.0;
        for (int64_t n = 0; n < lit; n++) {
            const double counts = fabs(b[n] - (step.gain * a[n] + step.offset)) <= most;
            close += counts;
            sum_a += counts * a[n];
            sum_b += counts * b[n];
            squares_a += counts * (a[n] * a[n]);
            squares_b += counts * (b[n] * b[n]);
        }
        const double mean_a = sum_a / close, mean_b = sum_b / close;
        const double spread_a = squares_a / close - mean_a * mean_a, spread_b = squares_b / close - mean_b * mean_b;
        if (!(fmin(spread_a, spread_b) >= SPREAD)) break;
        step.gain = sqrt(spread_b / spread_a);
        step.offset = mean_b - step.gain * mean_a;
    }
    const int plausible = step.gain >= 1.0 / GAIN_MOST && step.gain <= GAIN_MOST && fabs(step.offset) <= OFFSET_MOST;
    return plausible ? step : none;
}

/* What differs by noise alone between the cells [count, VALUES] of two pictures, the earlier one relit. */
static float noise_floor(int64_t count, const float *cells, const float *last, float gain, float offset, double *work) {
    for (int64_t n = 0; n < count; n++) {
        float apart[VALUES];
        for (int v = 0; v < VALUES; v++)
            apart[v] = fabsf(cells[n * VALUES + v] - (last[n * VALUES + v] * gain + offset));
        work[n] = mean_of(apart);
    }
    return (float)ranked(work, count, count / QUIET);
}

/* One camera's picture: its cells as they would be in the first light, and which of its patches [grid^2] look as when
 * their token was computed. */
static void compare_camera(const Scene *of, int64_t camera, int seen, uint8_t *same) {
    const int64_t count = of->grid * of->grid, first = camera * count;
    const float *cells = of->cells + first * VALUES, *reference = of->reference + first * VALUES;
    float *undone = of->undone + first * VALUES, noise = 0.0f;
    if (seen) {
        const Step step = relight(count, of->levels_before + first, of->levels + first, of->work);
        const float gain = (float)step.gain, offset = (float)step.offset;
        of->gain[camera] *= gain;
        of->offset[camera] = of->offset[camera] * gain + offset;
        noise = noise_floor(count, cells, of->last + first * VALUES, gain, offset, of->work);
    }
    const float gain = of->gain[camera], offset = of->offset[camera];
    const float most = fmaxf(LEAST, NOISY * fminf(noise, NOISE_MOST));
    of->floor[camera] = noise;
    for (int64_t n = 0; n < count; n++) {
        float apart[VALUES];
        for (int v = 0; v < VALUES; v++) {
            undone[n * VALUES + v] = (cells[n * VALUES + v] - offset) / gain;
            apart[v] = fabsf(undone[n * VALUES + v] - reference[n * VALUES + v]);
        }
        same[first + n] = seen && mean_of(apart) * gain <= most;
    }
}

/* Which patches [cameras * grid^2] of frames [cameras, image, image, 3] look as when their token was computed; none
 * where no picture was `seen` before. */
static void compare_scene(Scene *of, const uint8_t *frames, int seen, uint8_t *same) {
    const int64_t count = of->grid * of->grid;
    float *cells = of->last, *levels = of->levels_before;
    of->last = of->cells, of->cells = cells;
    of->levels_before = of->levels, of->levels = levels;
    for (int64_t camera = 0; camera < of->cameras; camera++) {
        float *its = cells + camera * count * VALUES;
        cell_means(of, frames + camera * of->image * of->image * 3, its);
        for (int64_t n = 0; n < count; n++) levels[camera * count + n] = mean_of(its + n * VALUES);
        compare_camera(of, camera, seen, same);
    }
}

/* Image entropy, 0 to 1, of a patch [side, side, 3] of a frame [.., image, 3]; see `image_entropy` of scores.py. */
static double patch_entropy(const Scene *of, const uint8_t *from, int64_t side) {
    uint32_t counts[GREY_LEVELS] = {0};
    for (int64_t y = 0; y < side; y++)
        for (const uint8_t *at = from + y * of->image * 3, *end = at + 3 * side; at < end; at += 3)
            counts[(at[0] * 9798 + at[1] * 19235 + at[2] * 3735 + 16384) >> 15]++; /* as OpenCV's */
    double parts[8] = {0};
    for (int n = 0; n < GREY_LEVELS; n += 8)
        for (int part = 0; part < 8; part++) parts[part] += of->terms[counts[n + part]];
    for (int half = 4; half; half /= 2)
        for (int part = 0; part < half; part++) parts[part] += parts[part + half];
    const double pixels = (double)(side * side), most = log(fmin(GREY_LEVELS, pixels));
    return fmin(fmax((log(pixels) - parts[0] / pixels) / most, 0.0), 1.0);
}

/* Image entropy [count] of the patches of those numbers. */
static void image_entropy(const Scene *of, const uint8_t *frames, int64_t count, const int64_t *patches, double *to) {
    const int64_t grid = of->grid, side = of->image / grid;
    for (int64_t n = 0; n < count; n++) {
        const int64_t row = patches[n] / grid, column = patches[n] % grid; /* rows of all cameras */
        to[n] = patch_entropy(of, frames + (row * side * of->image + column * side) * 3, side);
    }
}

/* Squared relative change [rows] of rows [rows, width] against `stored` ones: no number where they are none. */
static void drift(int64_t rows, int64_t width, const float *now, const float *stored, float *to) {
    for (int64_t n = 0; n < rows; n++, now += width, stored += width) {
        vec apart = {0}, whole = {0};
        for (int64_t j = 0; j < width; j += LANES) {
            const vec x = load_most(now + j, width - j, 0.0f), step = x - load_most(stored + j, width - j, 0.0f);
            apart += step * step;
            whole += x * x;
        }
        const float length = sum(whole);
        to[n] = sum(apart) / (length < 1e-12f ? 1e-12f : length);
    }
}

/* Copies those of the rows [rows, width] that are `fresh`. */
static void keep_rows(int64_t rows, int64_t width, const uint8_t *fresh, const float *from, float *to) {
    for (int64_t n = 0; n < rows; n++)
        if (fresh[n]) memcpy(to + n * width, from + n * width, (size_t)width * sizeof(float));
}

#endif
