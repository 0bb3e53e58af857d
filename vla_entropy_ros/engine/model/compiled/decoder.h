/* One pass of a Llama decoder: each row writes its slot, then sees the slots that it may see. */
#ifndef DECODER_H
#define DECODER_H

#include "attention.h"

/* The numbers of the rows that are still there, and what belongs to each. */
typedef struct {
    int64_t rows, *number, *position, *slot, *seen, *branch;
} Rows;

/* Root-mean-square norm of x [rows, width], shared by a team. */
static void rms_norm(int64_t rows, int64_t width, const float *x, const float *weight, double epsilon, float *to) {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        const float *from = x + i * width;
        vec squares = {0};
        for (int64_t j = 0; j < width; j += LANES) {
            const vec now = load_most(from + j, width - j, 0.0f);
            squares += now * now;
        }
        const vec by = all(1.0f / sqrtf(sum(squares) / (float)width + (float)epsilon));
        for (int64_t j = 0; j < width; j += LANES) {
            const vec scaled = load_most(from + j, width - j, 0.0f) * by;
            store_most(to + i * width + j, scaled * load_most(weight + j, width - j, 0.0f), width - j);
        }
    }
}

/* Rotate one head [width] by tables of its position; the sine's first half is negated. */
INLINE void rotate(float *head, const float *cosine, const float *sine, int64_t width) {
    const int64_t half = width / 2;
    for (int64_t j = 0; j < half; j += LANES) {
        const int64_t left = half - j;
        const vec a = load_most(head + j, left, 0.0f), b = load_most(head + half + j, left, 0.0f);
        const vec first = a * load_most(cosine + j, left, 0.0f) + b * load_most(sine + j, left, 0.0f);
        const vec other = b * load_most(cosine + half + j, left, 0.0f) + a * load_most(sine + half + j, left, 0.0f);
        store_most(head + j, first, left);
        store_most(head + half + j, other, left);
    }
}

/* Rotate queries and keys, write keys and values to their slots, keep the queries of text. */
static void write_slots(const Decoder *of, const Pass *pass, int64_t layer, const Rows *now, float *qkv) {
    const int64_t width = of->head_dim, heads = of->heads, kv_heads = of->kv_heads, length = of->length;
    const int64_t step = (heads + 2 * kv_heads) * width;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < now->rows; i++) {
        const int64_t position = now->position[i], slot = now->slot[i], word = position - pass->first_text;
        float *row = qkv + i * step;
        for (int64_t head = 0; head < heads + kv_heads; head++)
            rotate(row + head * width, of->cosine + position * width, of->sine + position * width, width);
        for (int64_t head = 0; head < kv_heads; head++) {
            const int64_t at = (layer * kv_heads + head) * length * width;
            const float *key = row + (heads + head) * width;
            for (int64_t d = 0; d < width; d++) of->keys[at + d * length + slot] = key[d];
            memcpy(of->values + at + slot * width, key + kv_heads * width, (size_t)width * sizeof(float));
        }
        if (word >= 0 && word < pass->words)
            for (int64_t head = 0; head < heads; head++)
                memcpy(of->queries + ((layer * heads + head) * of->kept + word) * width, row + head * width,
                       (size_t)width * sizeof(float));
    }
}

/* gate_up [rows, 2 * width] -> silu(gate) * up in its first half. */
static void gated(int64_t rows, int64_t width, float *gate_up) {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        float *gate = gate_up + i * 2 * width;
        for (int64_t j = 0; j < width; j += LANES) {
            const int64_t left = width - j;
            const vec hidden = silu(load_most(gate + j, left, 0.0f)) * load_most(gate + width + j, left, 0.0f);
            store_most(gate + j, hidden, left);
        }
    }
}

/* Leave out all rows but `kept` [count], by their numbers, ascending. */
static void go_on(const Decoder *of, Rows *now, const int64_t *kept, int64_t count) {
    for (int64_t i = 0, from = 0; i < count; i++, from++) {
        while (now->number[from] != kept[i]) from++;
        if (i == from) continue;
        memcpy(of->x + i * of->width, of->x + from * of->width, (size_t)of->width * sizeof(float));
        now->number[i] = now->number[from], now->position[i] = now->position[from], now->slot[i] = now->slot[from];
        now->seen[i] = now->seen[from], now->branch[i] = now->branch[from];
    }
    now->rows = count;
}

/* Take in the rows of a pass: what they are made of, and where they stand. */
static void begin(const Decoder *of, const Pass *pass, Rows *now) {
    now->rows = pass->rows;
    for (int64_t i = 0; i < pass->rows; i++) {
        const float *from = pass->source[i] >= 0 ? pass->inputs + pass->source[i] * of->width
                                                 : of->embedding + pass->token[i] * of->width;
        memcpy(of->x + i * of->width, from, (size_t)of->width * sizeof(float));
        now->number[i] = i, now->position[i] = pass->position[i], now->slot[i] = pass->slot[i];
        now->seen[i] = pass->seen[i], now->branch[i] = pass->branch[i];
        of->slot_position[pass->slot[i]] = pass->position[i];
    }
}

static void run_layer(const Decoder *of, const Pass *pass, int64_t number, const Rows *now, int64_t out) {
    const Layer *layer = of->layer + number;
    const int64_t width = of->width, step = (of->heads + 2 * of->kv_heads) * of->head_dim;
    const int64_t first = now->rows - out, per_layer = of->kv_heads * of->length * of->head_dim;
    float *x = of->x + first * width;
    const Sight sight = {now->seen + first, now->branch + first, of->slot_position, pass->area};
    float *keys = of->keys + number * per_layer, *values = of->values + number * per_layer;
    const Next held = {keys, per_layer};
    const Next behind = number + 1 < of->layers ? weight_of(&of->layer[number + 1].qkv) : weight_of(&of->head);
    rms_norm(now->rows, width, of->x, layer->attention_norm, of->epsilon, of->normed);
    multiply(now->rows, of->normed, width, &layer->qkv, of->qkv, step, 0, held);
    write_slots(of, pass, number, now, of->qkv);
    attend(out, of->qkv + first * step, step, of->heads, of->kv_heads, of->head_dim, keys, values, of->length, &sight,
           of->mixed, of->scores, weight_of(&layer->out));
    multiply(out, of->mixed, of->heads * of->head_dim, &layer->out, x, width, 1, NOTHING);
    rms_norm(out, width, x, layer->mlp_norm, of->epsilon, of->normed);
    multiply(out, of->normed, width, &layer->gate_up, of->gate_up, 2 * of->intermediate, 0, weight_of(&layer->down));
    gated(out, of->intermediate, of->gate_up);
    multiply(out, of->gate_up, 2 * of->intermediate, &layer->down, x, width, 1, behind);
}

static void decode(const Decoder *of, const Pass *pass, int threads) {
    int64_t *n = of->numbers;
    Rows now = {0, n, n + of->capacity, n + 2 * of->capacity, n + 3 * of->capacity, n + 4 * of->capacity};
    begin(of, pass, &now);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        for (int64_t layer = 0, left = 0; layer < of->layers; layer++) {
            if (left < pass->narrowings && pass->narrow_layer[left] == layer) {
#pragma omp single
                go_on(of, &now, pass->narrow_rows[left], pass->narrow_count[left]);
                left++;
            }
            run_layer(of, pass, layer, &now, layer == of->layers - 1 ? pass->out : now.rows);
        }
        rms_norm(pass->out, of->width, of->x + (now.rows - pass->out) * of->width, of->norm, of->epsilon, pass->states);
        if (pass->logits) multiply(pass->out, pass->states, of->width, &of->head, pass->logits, of->head.rows, 0, NOTHING);
    }
}

#endif
