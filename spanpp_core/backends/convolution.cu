// A 3x3 convolution with zeros around, of a map whose channels lie last, and what is done
// to its result, in one kernel for CUDA GPUs of compute capability 8.0 and later.
//
// A program keeps all weights in shared memory, and makes rectangles of ROWS x COLUMNS
// pixels. It copies what one reads into shared memory once, where an implicit matrix product
// reads every pixel nine times: the nine taps are nine offsets into the same rectangle. The
// result is activated before it leaves the multiprocessor.
//
// CHANNELS (a multiple of 16) and BFLOAT16 (else float16) are set by whoever compiles it,
// and ROWS, WARPS and PROGRAMS (per multiprocessor) may be.

#ifndef ROWS
#define ROWS 16
#endif
#ifndef WARPS
#define WARPS 4
#endif
#ifndef PROGRAMS
#define PROGRAMS 3
#endif
#define COLUMNS 16
#define THREADS (32 * WARPS)
#define ROWS_OF_WARP (ROWS / WARPS)
#define PITCH (COLUMNS + 2)
#define PIXELS ((ROWS + 2) * PITCH)

// In shared memory 8 channels of a pixel, 16 bytes, are a unit. Units of neighbouring pixels
// lie side by side, in one plane for every 8 channels: then the 8 rows that `ldmatrix` reads
// at once lie in 8 different groups of banks. The pitch of planes is odd for the same reason,
// when they are written.
#define UNITS (CHANNELS / 8)
#define PLANE (PIXELS + 1 - PIXELS % 2)
#define WEIGHT_UNITS (9 * UNITS * CHANNELS)
#define RESULT_PITCH (UNITS + 1)

struct alignas(16) Unit { unsigned x, y, z, w; };

#ifndef EMULATED
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  unsigned address;
  asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }"
      : "=r"(address) : "l"(pointer));
  return address;
}

// Four matrices of 8 x 8 values; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const Unit* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row)));
}

#ifdef BFLOAT16
#define TYPE "bf16"
#else
#define TYPE "f16"
#endif

// sum (16 x 8, float32) += a (16 x 16) * b (16 x 8)
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&a)[4],
                                             unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE ".f32"
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Copies a unit to shared memory, or zeros; it is there after `copies_done`.
__device__ __forceinline__ void copy(Unit* to, const Unit* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"(shared_address(to)), "l"(from), "r"(inside ? 16 : 0));
}

__device__ __forceinline__ void copies_done() {
  asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;" ::: "memory");
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

__device__ __forceinline__ float sigmoid(float x) {
  return __fdividef(1.0f, 1.0f + __expf(-x));
}
#endif

// (o + x) * (sigmoid(o) - 1/2), of two values each
__device__ __forceinline__ unsigned gated(unsigned o, unsigned x) {
  float o0, o1, x0, x1;
  unpack(o, o0, o1);
  unpack(x, x0, x1);
  return packed((o0 + x0) * (sigmoid(o0) - 0.5f), (o1 + x1) * (sigmoid(o1) - 0.5f));
}

// x, skip, out: (N, height, width, CHANNELS). weight: (9, UNITS, CHANNELS, 8): tap, input
// channels, output channel. bias: (CHANNELS,) in float32. Where skip is null the result is
// silu(o) for the convolution o, else (o + skip) * (sigmoid(o) - 1/2). tiles: rectangles
// of pixels, in all images.
extern "C" __global__ void __launch_bounds__(THREADS, PROGRAMS)
convolution(const Unit* __restrict__ x, const Unit* __restrict__ weight,
            const float* __restrict__ bias, const Unit* __restrict__ skip,
            Unit* __restrict__ out, int height, int width, int tiles_down,
            int tiles_across, int tiles) {
  extern __shared__ Unit shared[];
  Unit* map = shared + WEIGHT_UNITS;
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  for (int i = thread; i < WEIGHT_UNITS; i += THREADS) copy(shared + i, weight + i, true);
  const Unit* a_row =
      map + lane / 16 * PLANE + ROWS_OF_WARP * warp * PITCH + lane % 16;
  const Unit* b_row = shared + lane / 8 % 2 * CHANNELS + lane % 8 + lane / 16 * 8;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const long long image = tile / (tiles_down * tiles_across);
    const int top = tile / tiles_across % tiles_down * ROWS;
    const int left = tile % tiles_across * COLUMNS;
    for (int i = thread; i < PIXELS * UNITS; i += THREADS) {
      const int pixel = i / UNITS, unit = i % UNITS;
      const int row = top + pixel / PITCH - 1, column = left + pixel % PITCH - 1;
      const bool inside = row >= 0 && row < height && column >= 0 && column < width;
      const long long from = ((image * height + row) * width + column) * UNITS + unit;
      copy(map + unit * PLANE + pixel, inside ? x + from : x, inside);
    }
    copies_done();
    __syncthreads();

    // a warp has ROWS_OF_WARP rows of 16 pixels; a row that was loaded serves three taps
    float sum[ROWS_OF_WARP][UNITS][4] = {};
#pragma unroll 1
    for (int k = 0; k < UNITS; k += 2) {
#pragma unroll
      for (int across = 0; across < 3; across++) {
        unsigned a[ROWS_OF_WARP + 2][4], b[4];
#pragma unroll
        for (int r = 0; r < ROWS_OF_WARP + 2; r++)
          load_matrices(a[r], a_row + k * PLANE + r * PITCH + across);
#pragma unroll
        for (int down = 0; down < 3; down++) {
#pragma unroll
          for (int j = 0; j < UNITS; j += 2) {
            const int tap = 3 * down + across;
            load_matrices(b, b_row + (tap * UNITS + k) * CHANNELS + 8 * j);
#pragma unroll
            for (int r = 0; r < ROWS_OF_WARP; r++) {
              multiply_add(sum[r][j], a[r + down], b[0], b[1]);
              multiply_add(sum[r][j + 1], a[r + down], b[2], b[3]);
            }
          }
        }
      }
    }
    __syncthreads();

    // the map was read by all: results take its place, to leave in whole units
    unsigned* results = reinterpret_cast<unsigned*>(map);
#pragma unroll
    for (int j = 0; j < UNITS; j++) {
      const float bias0 = bias[8 * j + lane % 4 * 2], bias1 = bias[8 * j + lane % 4 * 2 + 1];
#pragma unroll
      for (int r = 0; r < ROWS_OF_WARP; r++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          float o0 = sum[r][j][2 * half] + bias0, o1 = sum[r][j][2 * half + 1] + bias1;
          if (skip == nullptr) {
            o0 *= sigmoid(o0);
            o1 *= sigmoid(o1);
          }
          const int pixel = (ROWS_OF_WARP * warp + r) * COLUMNS + lane / 4 + 8 * half;
          results[(pixel * RESULT_PITCH + j) * 4 + lane % 4] = packed(o0, o1);
        }
      }
    }
    __syncwarp();
    for (int i = lane; i < ROWS_OF_WARP * COLUMNS * UNITS; i += 32) {
      const int pixel = ROWS_OF_WARP * warp * COLUMNS + i / UNITS, unit = i % UNITS;
      const int row = top + pixel / COLUMNS, column = left + pixel % COLUMNS;
      if (row < height && column < width) {
        const long long to = ((image * height + row) * width + column) * UNITS + unit;
        Unit o = map[pixel * RESULT_PITCH + unit];
        if (skip != nullptr) {
          const Unit s = skip[to];
          o = {gated(o.x, s.x), gated(o.y, s.y), gated(o.z, s.z), gated(o.w, s.w)};
        }
        out[to] = o;
      }
    }
    __syncthreads();
  }
}
