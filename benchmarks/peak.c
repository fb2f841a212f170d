/* What a core can do at most: independent multiply-adds in registers, nothing else. peak(cpu, integers, rounds) gives how
   many multiply-adds it made; cpu as in idn.h. Vectors are inline assembly's so that no compiler removes or splits them. */
#include <stdint.h>

#define TEN(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9)
#if defined(__x86_64__)
typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));
#define DECLARE(i) c##i = x,
#define FMA(i) __asm__("vfmadd231ps %1, %1, %0" : "+v"(c##i) : "v"(x));
#define VNNI(i) __asm__("vpdpbusd %1, %1, %0" : "+v"(c##i) : "v"(x));
#define PAIRS(i) __asm__("vpmaddubsw %1, %1, %0\n\tvpmaddwd %1, %0, %0" : "+v"(c##i) : "v"(x));
#define LOOP(name, vector, isa, step)                                             \
  __attribute__((noinline, target(isa))) static float name(int64_t rounds) {      \
    const vector x = {0};                                                         \
    vector TEN(DECLARE) last = x;                                                 \
    for (int64_t r = 0; r < rounds; r++) { TEN(step) }                            \
    last = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9;                       \
    return last[0];                                                               \
  }
LOOP(fma_512, v16, "avx512f,avx512vnni,avx512vl", FMA)
LOOP(fma_256, v8, "avx2,fma", FMA)
LOOP(vnni_512, v16, "avx512f,avx512vnni,avx512vl", VNNI)
LOOP(pairs_256, v8, "avx2,fma", PAIRS)

double peak(int cpu, int integers, int64_t rounds) {
  volatile float kept;
  if (cpu == 2) kept = integers ? vnni_512(rounds) : fma_512(rounds);
  else kept = integers ? pairs_256(rounds) : fma_256(rounds);
  (void)kept;
  return 10.0 * (double)rounds * (cpu == 2 ? 16 : 8) * (integers ? 4 : 1);
}
#elif defined(__aarch64__)
#include <arm_neon.h>
double peak(int cpu, int integers, int64_t rounds) { /* floats only: of integers there is no one way */
  (void)cpu;
  if (integers) return 0;
  float32x4_t x = vdupq_n_f32(0);
#define DECLARE(i) float32x4_t c##i = x;
#define FMA(i) __asm__("fmla %0.4s, %1.4s, %1.4s" : "+w"(c##i) : "w"(x));
  TEN(DECLARE)
  for (int64_t r = 0; r < rounds; r++) { TEN(FMA) }
#define SUM(i) x = vaddq_f32(x, c##i);
  TEN(SUM)
  volatile float kept = vgetq_lane_f32(x, 0);
  (void)kept;
  return 40.0 * (double)rounds;
}
#else
double peak(int cpu, int integers, int64_t rounds) { return (void)cpu, (void)integers, (void)rounds, 0.0; }
#endif
