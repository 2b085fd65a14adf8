// A convolution (3x3 with zeros around, or 1x1) of a channels-last map and its epilogue, what is
// done to its result, in one kernel for CUDA GPUs of compute capability 8.0 and later.
//
// A program (a thread block) keeps all weights in shared memory, and each of its GROUPS of warps
// makes tiles of ROWS x COLUMNS pixels. A group copies a tile and the pixels around it, which it
// reads, into shared memory once, where an implicit GEMM reads every pixel nine times from
// global memory: the nine taps are nine offsets into the same rectangle. Results are written
// from registers. Meanwhile the next tile is copied: with 2 STAGES to a second buffer, while
// this one is multiplied; with 1 to the same buffer, once it was read.
//
// `convolution.py` defines INPUTS and OUTPUTS (channels, multiples of 16), SIDE (3 or 1) and
// BFLOAT16 (else float16), and how the work is divided: ROWS, WARPS (of a group), GROUPS,
// STAGES and PROGRAMS (per multiprocessor).

#define COLUMNS 16
#define THREADS (32 * WARPS)
#define ROWS_OF_WARP (ROWS / WARPS)

// In shared memory 8 channels of a pixel, 16 bytes, are a unit. Units of neighbouring pixels
// lie side by side, in one plane for every 8 channels: then the 8 rows that `ldmatrix` reads
// at once lie in 8 different groups of banks. The pitch of planes is odd for the same reason,
// when they are written.
#define IN_UNITS (INPUTS / 8)
#define OUT_UNITS (OUTPUTS / 8)
#define LINES (ROWS + SIDE - 1)
#define PITCH (COLUMNS + SIDE - 1)
#define PLANE (LINES * PITCH + 1 - LINES * PITCH % 2)
#define MAP_UNITS (IN_UNITS * PLANE)
#define WEIGHT_UNITS (SIDE * SIDE * IN_UNITS * OUTPUTS)
#define LINE_UNITS (PITCH * IN_UNITS)
#define LINES_AT_ONCE (THREADS / LINE_UNITS)
static_assert(LINES_AT_ONCE > 0, "a group has a thread for every unit of a line");

struct alignas(16) Unit { unsigned x, y, z, w; };
struct alignas(8) HalfUnit { unsigned x, y; };

enum Then { NOTHING, SILU, ADD, GATE };

#ifndef EMULATED
// What is in global memory; 4, 8 or 16 bytes at a multiple of as many.
template <typename T>
__device__ __forceinline__ T load(const T* from) { return *from; }

template <typename T>
__device__ __forceinline__ void store(T* to, const T& value) { *to = value; }

// The address of a program's shared memory, in bytes.
__device__ __forceinline__ unsigned shared_memory() {
  extern __shared__ Unit shared[];
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Four matrices of 8 x 8 values; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], unsigned row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row));
}

#ifdef BFLOAT16
#define TYPE "bf16"
#else
#define TYPE "f16"
#endif

// sum (16 x 8, float32) += a (16 x 16) * b (16 x 8)
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&a)[4],
                                             unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE ".f32"
      " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Begins to copy a unit to shared memory, or zeros.
__device__ __forceinline__ void copy(unsigned to, const Unit* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"(to), "l"(from), "r"(inside ? 16 : 0) : "memory");
}

// Waits for all copies that this thread began.
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;" ::: "memory");
}

// Waits for all threads of a group; barrier 0 is that of the program.
__device__ __forceinline__ void wait_for_group(int group) {
  asm volatile("bar.sync %0, %1;" :: "r"(group + 1), "n"(THREADS) : "memory");
}

__device__ __forceinline__ unsigned packed(float low, float high) {
  unsigned both;
  asm("cvt.rn." TYPE "x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

__device__ __forceinline__ void unpack(unsigned both, float& low, float& high) {
#ifdef BFLOAT16
  low = __uint_as_float(both << 16);
  high = __uint_as_float(both & 0xffff0000u);
#else
  asm("{ .reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }"
      : "=f"(low), "=f"(high) : "r"(both));
#endif
}

// To 11 bits, one instruction; an exponential and a division are two of the same unit.
__device__ __forceinline__ float fast_tanh(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#endif

// What is done to a value o of the convolution, where s is that of another map: nothing,
// silu(o), o + s or (o + s) * (sigmoid(o) - 1/2). sigmoid(o) is (tanh(o / 2) + 1) / 2.
template <Then then>
__device__ __forceinline__ float finished(float o, float s) {
  const float half = 0.5f * o;
  if (then == SILU) return half * fast_tanh(half) + half;
  if (then == GATE) return (0.5f * s + half) * fast_tanh(half);
  return then == ADD ? o + s : o;
}

// Of a pixel's results a thread has a quarter, two values for each 8 channels. The order of
// channels in the weights makes these whole units, and half a unit where 16 channels remain.
__device__ __forceinline__ void read(const Unit* pixel, unsigned (&values)[OUT_UNITS]) {
  const int quarter = threadIdx.x % 4;
#pragma unroll
  for (int j = 0; j + 4 <= OUT_UNITS; j += 4) {
    const Unit unit = load(pixel + j + quarter);
    values[j] = unit.x, values[j + 1] = unit.y, values[j + 2] = unit.z, values[j + 3] = unit.w;
  }
  if (OUT_UNITS % 4) {
    constexpr int j = OUT_UNITS - 2;
    const HalfUnit unit = load(reinterpret_cast<const HalfUnit*>(pixel + j) + quarter);
    values[j] = unit.x, values[j + 1] = unit.y;
  }
}

__device__ __forceinline__ void write(Unit* pixel, const unsigned (&values)[OUT_UNITS]) {
  const int quarter = threadIdx.x % 4;
#pragma unroll
  for (int j = 0; j + 4 <= OUT_UNITS; j += 4)
    store(pixel + j + quarter, {values[j], values[j + 1], values[j + 2], values[j + 3]});
  if (OUT_UNITS % 4) {
    constexpr int j = OUT_UNITS - 2;
    store(reinterpret_cast<HalfUnit*>(pixel + j) + quarter, {values[j], values[j + 1]});
  }
}

// Finishes and writes what a thread has: in each row a pixel, and the one 8 columns on.
// skip and out point to the first; rows and columns remain in the map from there.
template <Then then>
__device__ __forceinline__ void finish(const float (&sum)[ROWS_OF_WARP][OUT_UNITS][4],
                                       const Unit* __restrict__ skip, Unit* __restrict__ out,
                                       int width, int rows, int columns) {
#pragma unroll
  for (int r = 0; r < ROWS_OF_WARP; r++) {
    unsigned values[2][OUT_UNITS] = {};
#pragma unroll
    for (int half = 0; half < 2; half++)
      if (then >= ADD && r < rows && 8 * half < columns)
        read(skip + (r * width + 8 * half) * OUT_UNITS, values[half]);
#pragma unroll
    for (int half = 0; half < 2; half++)
      if (r < rows && 8 * half < columns) {
#pragma unroll
        for (int j = 0; j < OUT_UNITS; j++) {
          float s0 = 0, s1 = 0;
          if (then >= ADD) unpack(values[half][j], s0, s1);
          const float* o = &sum[r][j][2 * half];
          values[half][j] = packed(finished<then>(o[0], s0), finished<then>(o[1], s1));
        }
        write(out + (r * width + 8 * half) * OUT_UNITS, values[half]);
      }
  }
}

// x: (N, height, width, INPUTS). weight: (SIDE * SIDE, IN_UNITS, OUTPUTS, 8): tap, input
// channels, output channel. bias: (OUTPUTS,) in float32. skip (where `then` wants it), out:
// (N, height, width, OUTPUTS). tiles: of all images.
extern "C" __global__ void __launch_bounds__(GROUPS * THREADS, PROGRAMS)
convolution(const Unit* __restrict__ x, const Unit* __restrict__ weight,
            const float* __restrict__ bias, const Unit* __restrict__ skip,
            Unit* __restrict__ out, int then, int height, int width, int tiles_down,
            int tiles_across, int tiles) {
  const int group = threadIdx.x / THREADS, thread = threadIdx.x % THREADS;
  const int warp = thread / 32, lane = thread % 32;
  const unsigned weights = shared_memory();
  const unsigned maps = weights + 16 * (WEIGHT_UNITS + group * STAGES * MAP_UNITS);
  for (int i = threadIdx.x; i < WEIGHT_UNITS; i += GROUPS * THREADS)
    copy(weights + 16 * i, weight + i, true);

  struct Place { int image, top, left; };
  const auto place = [=](int tile) -> Place {
    return {tile / (tiles_down * tiles_across), tile / tiles_across % tiles_down * ROWS,
            tile % tiles_across * COLUMNS};
  };
  // a thread copies one unit of every line, or of every LINES_AT_ONCE-th
  const int line = thread / LINE_UNITS, across = thread % LINE_UNITS / IN_UNITS;
  const int from_line = line * width * IN_UNITS + thread % LINE_UNITS;
  const unsigned to_line = 16 * (thread % IN_UNITS * PLANE + line * PITCH + across);
  const auto begin = [=](Place at, unsigned map) {
    const int top = at.top - SIDE / 2, left = at.left - SIDE / 2;
    const long long first = (static_cast<long long>(at.image) * height + top) * width + left;
    const Unit* from = x + first * IN_UNITS + from_line;
    const bool inside = left + across >= 0 && left + across < width;
    if (line >= LINES_AT_ONCE) return;
#pragma unroll
    for (int next = 0; next < LINES; next += LINES_AT_ONCE) {
      const int row = top + line + next;
      if (LINES % LINES_AT_ONCE == 0 || line + next < LINES)
        copy(map + to_line + 16 * next * PITCH, from, inside && row >= 0 && row < height);
      from += LINES_AT_ONCE * width * IN_UNITS;
    }
  };

  int tile = blockIdx.x + group * gridDim.x;
  Place next = place(tile);
  if (tile < tiles) begin(next, maps);
  wait_for_copies();
  __syncthreads();  // the weights are there, which all groups copied
  const unsigned a_row =
      16 * (lane / 16 * PLANE + ROWS_OF_WARP * warp * PITCH + lane % 16);
  const unsigned b_row = 16 * (lane / 8 % 2 * OUTPUTS + lane / 16 * 8 + lane % 8);
  for (int stage = 0; tile < tiles; stage ^= STAGES - 1) {
    const Place here = next;
    const unsigned map = maps + 16 * MAP_UNITS * stage;
    tile += gridDim.x * GROUPS;
    wait_for_copies();
    wait_for_group(group);  // all of this map is there, and all have read the one before
    if (STAGES == 2 && tile < tiles)
      begin(next = place(tile), maps + 16 * MAP_UNITS * (1 - stage));

    float sum[ROWS_OF_WARP][OUT_UNITS][4];
#pragma unroll
    for (int j = 0; j < OUT_UNITS; j++) {
      const int of_quarter = j / 4 * 4 + 4 <= OUT_UNITS ? 8 : 4;
      const int channel = j / 4 * 32 + lane % 4 * of_quarter + j % 4 * 2;
#pragma unroll
      for (int r = 0; r < ROWS_OF_WARP; r++)
#pragma unroll
        for (int i = 0; i < 4; i++) sum[r][j][i] = load(bias + channel + i % 2);
    }
    // a warp has ROWS_OF_WARP rows of 16 pixels; a row that was loaded serves all taps down
    unsigned a_from = map + a_row, b_from = weights + b_row;
#pragma unroll 1
    for (int k = 0; k < IN_UNITS; k += 2) {
#pragma unroll
      for (int right = 0; right < SIDE; right++) {
        unsigned a[ROWS_OF_WARP + SIDE - 1][4], b[4];
#pragma unroll
        for (int r = 0; r < ROWS_OF_WARP + SIDE - 1; r++)
          load_matrices(a[r], a_from + 16 * (r * PITCH + right));
#pragma unroll
        for (int down = 0; down < SIDE; down++) {
#pragma unroll
          for (int j = 0; j < OUT_UNITS; j += 2) {
            const int tap = SIDE * down + right;
            load_matrices(b, b_from + 16 * (tap * IN_UNITS * OUTPUTS + 8 * j));
#pragma unroll
            for (int r = 0; r < ROWS_OF_WARP; r++) {
              multiply_add(sum[r][j], a[r + down], b[0], b[1]);
              multiply_add(sum[r][j + 1], a[r + down], b[2], b[3]);
            }
          }
        }
      }
      a_from += 16 * 2 * PLANE;
      b_from += 16 * 2 * OUTPUTS;
    }
    if (STAGES == 1) {
      wait_for_group(group);  // all have read the map
      if (tile < tiles) begin(next = place(tile), map);
    }

    const int row = here.top + ROWS_OF_WARP * warp, column = here.left + lane / 4;
    const long long line_of_all = static_cast<long long>(here.image) * height + row;
    const long long first = (line_of_all * width + column) * OUT_UNITS;
    const Unit* from = skip + first;
    Unit* to = out + first;
    const int rows = height - row, columns = width - column;
    if (then == SILU) finish<SILU>(sum, from, to, width, rows, columns);
    else if (then == GATE) finish<GATE>(sum, from, to, width, rows, columns);
    else if (then == ADD) finish<ADD>(sum, from, to, width, rows, columns);
    else finish<NOTHING>(sum, from, to, width, rows, columns);
  }
}
