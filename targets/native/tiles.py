"""The instruction sets and their tiles, in one table.

A tile of ``pixels`` x ``vectors`` accumulators, the vectors of weights and one broadcast pixel must fit
the registers: 16 on x86 before AVX-512 and in most WebAssembly hosts, 32 elsewhere.
WebAssembly leaves two more free: one that hosts keep to themselves, and one for a product, where the
module has no fused multiply-add.
"""

from __future__ import annotations

from dataclasses import dataclass

PANEL = 16  # output channels that lie together in the weights file, whatever the lanes


@dataclass(frozen=True)
class Isa:
    """One instruction set: how its section is compiled, and how its loops are cut."""

    name: str  # suffix of its functions
    title: str
    guard: str  # of the preprocessor
    code: str  # the enumerator that a caller may force
    lanes: int  # numbers in a vector: float32, or float16 where it computes in halves
    pixels: int  # rows of the pointwise tile
    vectors: int  # columns of it
    row: int  # vectors of a row that the 3x3 kernels compute at once, for two rows
    by_lane: bool  # multiply by a lane of a loaded vector instead of by a broadcast
    attribute: str = ""  # what a function needs to be compiled for it
    maximum: str = ""  # the intrinsic for max(a, b), where the compilers do not find it
    header: str = ""
    dot: str = "quarters"  # how integers are multiplied, see kernels/products.c.j2
    dot_pixels: int = 4  # rows of that tile
    dot_vectors: int = 2  # columns of it
    halves: str = ""  # the intrinsic for the sums of two products of 16 bits
    fours: str = ""  # the intrinsic for sums of four products of bytes and ``sum``, where ``madd_guard`` is defined
    signed: bool = False  # bytes that are multiplied have both signs
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")  # that it is of use for
    half: bool = False  # floats are float16, in memory and in registers
    own: str = ""  # what intrinsics call a vector
    madd: str = ""  # the intrinsic for x * y + sum, ARG of each
    madd_guard: str = ""  # of the preprocessor, where that intrinsic may be missing
    in_order: bool = False  # sums stay where they stand in the source, see kernels/vector.c.j2

    @property
    def words(self) -> int:
        """Integers of 32 bits in a vector."""
        return self.lanes // 2 if self.half else self.lanes

    @property
    def real(self) -> str:
        """The C's type of an activation."""
        return "idn_f16" if self.half else "float"

    @property
    def axis(self) -> int:
        """Numbers of a row of the tables of positions: twelve, filled up to whole vectors of halves."""
        return 16 if self.half else 12

    @property
    def columns(self) -> int:
        """Output channels of a tile of floats."""
        return self.lanes * self.vectors

    @property
    def dot_columns(self) -> int:
        """Output channels of a tile of integers."""
        return self.words * self.dot_vectors


X86 = "defined(IDN_X86)"
ISAS = (
    Isa("avx512", "x86-64 with AVX-512", X86, "IDN_AVX512", 16, 14, 2, 4, False,
        'target(IDN_EVEX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")',
        "(v16f)_mm512_max_ps((__m512)(a), (__m512)(b))", "immintrin.h", dot="vnni", dot_pixels=14,
        own="__m512", madd="_mm512_fmadd_ps(ARG(x), ARG(y), ARG(sum))"),
    Isa("avxvnni", "x86-64 with AVX2 and VNNI for it", X86, "IDN_AVXVNNI", 8, 6, 2, 2, False,
        'target("avxvnni,avx2,fma")', "(v8f)_mm256_max_ps((__m256)(a), (__m256)(b))", "immintrin.h",
        dot="vnni", dot_pixels=6, precisions=("int8",), own="__m256", madd="_mm256_fmadd_ps(ARG(x), ARG(y), ARG(sum))"),
    Isa("avx2", "x86-64 with AVX2 and FMA", X86, "IDN_AVX2", 8, 6, 2, 2, False,
        'target("avx2,fma")', "(v8f)_mm256_max_ps((__m256)(a), (__m256)(b))", "immintrin.h", dot="pairs", dot_pixels=4,
        own="__m256", madd="_mm256_fmadd_ps(ARG(x), ARG(y), ARG(sum))"),
    Isa("sse2", "every x86-64", X86, "IDN_BASE", 4, 6, 2, 2, False,
        "", "(v4f)_mm_max_ps((__m128)(a), (__m128)(b))", "immintrin.h",
        dot="halves", halves="_mm_madd_epi16((__m128i)(x), (__m128i)(w))"),
    Isa("neon", "64-bit Arm", "defined(IDN_ARM64)", "IDN_BASE", 4, 5, 4, 4, True,
        "", "(v4f)vmaxq_f32((float32x4_t)(a), (float32x4_t)(b))", "arm_neon.h",
        dot="widening", dot_pixels=2, dot_vectors=4, signed=True,
        own="float32x4_t", madd="vfmaq_f32(ARG(sum), ARG(x), ARG(y))"),
    Isa("dotprod", "64-bit Arm with dot products", "defined(IDN_ARM64)", "IDN_DOTPROD", 4, 5, 4, 4, True,
        "IDN_TARGET_DOTPROD", "(v4f)vmaxq_f32((float32x4_t)(a), (float32x4_t)(b))", "arm_neon.h",
        dot="lanes", dot_pixels=5, dot_vectors=4, signed=True, precisions=("int8",),
        own="float32x4_t", madd="vfmaq_f32(ARG(sum), ARG(x), ARG(y))"),
    Isa("fp16", "64-bit Arm with float16 arithmetic", "defined(IDN_ARM64)", "IDN_FP16", 8, 4, 2, 4, True,
        "IDN_TARGET_FP16", "F(fmax)(a, b)", "arm_neon.h",
        dot="lanes", dot_pixels=5, dot_vectors=4, signed=True, precisions=("fp16", "int8"), half=True),
    Isa("wasm", "WebAssembly with SIMD", "defined(IDN_WASM)", "IDN_BASE", 4, 5, 2, 2, False,
        "", "(v4f)wasm_f32x4_pmax((v128_t)(b), (v128_t)(a))", "wasm_simd128.h",
        dot="halves", halves="wasm_i32x4_dot_i16x8((v128_t)(x), (v128_t)(w))",
        fours="wasm_i32x4_relaxed_dot_i8x16_i7x16_add((v128_t)(w), (v128_t)(x), (v128_t)(sum))",
        own="v128_t", madd="wasm_f32x4_relaxed_madd(ARG(x), ARG(y), ARG(sum))", madd_guard="__wasm_relaxed_simd__",
        in_order=True),
    Isa("any", "any other processor", "defined(IDN_OTHER)", "IDN_BASE", 4, 4, 2, 2, False),
)  # fmt: skip


@dataclass(frozen=True)
class Mixer:
    """How whole frames are mixed on one instruction set: eight numbers of 16 bits at once."""

    name: str  # suffix of its functions
    title: str
    guard: str  # of the preprocessor
    times: str  # a * b / 2^15 of int16, within 2 of it; 0 where either is
    attribute: str = ""  # what a function needs to be compiled for it


MIXERS = (
    Mixer("avx2", "x86-64 with AVX2", "IDN_X86", "(v8s)_mm_mulhrs_epi16((__m128i)(a), (__m128i)(b))",
        'target("avx2,fma")'),
    Mixer("sse2", "every x86-64", "IDN_X86", "(v8s)_mm_slli_epi16(_mm_mulhi_epi16((__m128i)(a), (__m128i)(b)), 1)"),
    Mixer("neon", "64-bit Arm", "IDN_ARM64", "(v8s)vqrdmulhq_s16((int16x8_t)(a), (int16x8_t)(b))"),
    Mixer("wasm", "WebAssembly with SIMD", "IDN_WASM", "(v8s)wasm_i16x8_q15mulr_sat((v128_t)(a), (v128_t)(b))"),
    Mixer("any", "any other processor", "IDN_OTHER",
        "__builtin_convertvector((IDN_INTS(a) * IDN_INTS(b) + 16384) >> 15, v8s)"),
)  # fmt: skip


def split(total: int, most: int) -> list[int]:
    """``total`` in as few parts of at most ``most`` as it takes, none shorter than another by more than one."""
    count = -(-total // most)
    return [total // count + (part < total % count) for part in range(count)]
