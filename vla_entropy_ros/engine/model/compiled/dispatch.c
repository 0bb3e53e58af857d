/* Which of the variants this processor can run; built without any flag of a variant, so that it runs everywhere. */
#define EXPORT __attribute__((visibility("default")))

/* Names, the fastest first, a space between; empty where there is none. */
EXPORT const char *supported(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    return avx2 && avx512 ? "avx512 avx2" : avx2 ? "avx2" : "";
#elif defined(__aarch64__)
    return "neon";
#else
    return "";
#endif
}

/* Hash of the sources that this was built from. */
EXPORT const char *built_from(void) { return SOURCES; }
