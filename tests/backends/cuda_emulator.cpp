// Runs convolution.cu on a CPU. The threads of a program take turns, each until it waits, and
// what a warp does together is exchanged between them, as the instruction set defines it.
//
// It finds what a GPU shows only now and then. Of shared memory, a unit that is read before
// its copy was waited for by the thread that began it, and by a barrier after that; that is
// overwritten before a barrier after its last read; that is outside. Copies arrive when they
// are waited for. Of global memory, what is outside of the tensors, what is not at a multiple
// of its size, and a result that is written twice. Results are NaN until written.

// Few headers: to read them takes longer than the rest of compiling this.
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <vector>

#define EMULATED
#define __device__
#define __forceinline__ inline
#define __global__
#define __launch_bounds__(...)
#define __restrict__

struct Dimension { int x; };
static Dimension threadIdx, blockIdx, gridDim;
static const char* failure;  // the first one, or none

static void fail(const char* reason) {
  if (failure == nullptr) failure = reason;
}

struct Unit;
template <typename T> static T load(const T* from);
template <typename T> static void store(T* to, const T& value);
static unsigned shared_memory() { return 0; }
static void load_matrices(unsigned (&to)[4], unsigned row);
static void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
static void copy(unsigned to, const Unit* from, bool inside);
static void wait_for_copies();
static void wait_for_group(int group);
static void __syncthreads();
static unsigned packed(float low, float high);
static void unpack(unsigned both, float& low, float& high);
static float fast_tanh(float x);

#include "kernel.inc"

constexpr int ALL = GROUPS * THREADS;

// Where threads meet: the last one to come lets all go on.
struct Meeting {
  int expected, come = 0, times = 0;
};

struct Warp {
  Meeting meeting{32};
  // twice: a thread may be one exchange ahead of another
  unsigned row[2][32];
  float a[2][16][16], b[2][8][16];
};

// When something was done: after how many barriers of the group, and of the program.
struct Moment {
  int group = -1, of_group = 0, of_program = 0;
  bool before(const Moment& other) const {
    return group < 0 || of_program < other.of_program ||
           (group == other.group && of_group < other.of_group);
  }
};

struct Cell {
  Unit unit;
  bool copying = false, filled = false;
  Moment written, read[GROUPS];
};

struct Thread {
  ucontext_t context;
  bool done = false;
  int exchanges = 0;
  Moment now;
  struct Copy { unsigned to; Unit unit; };
  std::vector<Copy> copies;
};

alignas(16) static char stacks[ALL][1 << 16];

struct Program {
  std::vector<Cell> memory;
  std::vector<Thread> threads{ALL};
  Warp warps[ALL / 32];
  std::vector<Meeting> groups{GROUPS, Meeting{THREADS}};
  Meeting all{ALL};
  ucontext_t turns;
  bool moved;
};

struct Arguments {
  const Unit *x, *weight;
  const float* bias;
  const Unit* skip;
  Unit* out;
  int then, height, width, down, across, tiles;
  size_t pixels() const { return size_t(tiles / (down * across)) * height * width; }
};

static Program* program;
static const Arguments* given;

template <typename T>
static bool within(const T* at, const void* tensor, size_t bytes) {
  const uintptr_t first = uintptr_t(tensor), here = uintptr_t(at);
  return here >= first && here + sizeof(T) <= first + bytes;
}

// Whether a value may be read or written there.
template <typename T>
static bool reachable(const T* at, bool inside) {
  if (!inside) fail("an address was outside of the tensors");
  if (uintptr_t(at) % sizeof(T)) fail("an address was not at a multiple of its size");
  return failure == nullptr;
}

template <typename T>
static T load(const T* from) {
  const size_t map = given->pixels() * OUT_UNITS * sizeof(Unit);
  const bool inside = within(from, given->bias, OUTPUTS * sizeof(float)) ||
                      (given->then >= ADD && within(from, given->skip, map));
  return reachable(from, inside) ? *from : T();
}

template <typename T>
static void store(T* to, const T& value) {
  const size_t map = given->pixels() * OUT_UNITS * sizeof(Unit);
  if (!reachable(to, within(to, given->out, map))) return;
  T unwritten;
  memset(&unwritten, 0xff, sizeof(T));
  if (memcmp(to, &unwritten, sizeof(T))) fail("a result was written twice");
  *to = value;
}

static Thread& me() { return program->threads[threadIdx.x]; }
static Warp& my_warp() { return program->warps[threadIdx.x / 32]; }

static void meet(Meeting& meeting) {
  if (++meeting.come == meeting.expected) {
    meeting.come = 0;
    meeting.times++;
    program->moved = true;
    return;
  }
  for (const int times = meeting.times; times == meeting.times;)
    swapcontext(&me().context, &program->turns);
}

static void __syncthreads() {
  meet(program->all);
  me().now.of_program++;
}

static void wait_for_group(int group) {
  if (group != threadIdx.x / THREADS) fail("it waited for another group");
  meet(program->groups[group]);
  me().now.of_group++;
}

static Cell* cell(unsigned address) {
  if (address % 16 == 0 && address / 16 < program->memory.size())
    return &program->memory[address / 16];
  fail("an address was outside of the shared memory");
  return nullptr;
}

static void copy(unsigned to, const Unit* from, bool inside) {
  Cell* at = cell(to);
  const bool known = within(from, given->x, given->pixels() * IN_UNITS * sizeof(Unit)) ||
                     within(from, given->weight, WEIGHT_UNITS * sizeof(Unit));
  if (at == nullptr || !reachable(from, known || !inside)) return;
  bool free = !at->copying && at->written.before(me().now);
  for (const Moment& read : at->read) free = free && read.before(me().now);
  if (!free) fail("a unit was overwritten before all had read it");
  at->copying = true;
  me().copies.push_back({to, inside ? *from : Unit{0, 0, 0, 0}});
}

static void wait_for_copies() {
  for (const auto& [to, unit] : me().copies) {
    Cell& at = *cell(to);
    at.unit = unit;
    at.copying = false;
    at.filled = true;
    at.written = me().now;
  }
  me().copies.clear();
}

static void load_matrices(unsigned (&to)[4], unsigned row) {
  Cell* at = cell(row);
  if (at != nullptr) {
    if (at->copying || !at->filled || !at->written.before(me().now))
      fail("a unit was read before it was there");
    at->read[threadIdx.x / THREADS] = me().now;
  }
  Warp& warp = my_warp();
  const int lane = threadIdx.x % 32, turn = me().exchanges++ % 2;
  warp.row[turn][lane] = row;
  meet(warp.meeting);
  for (int matrix = 0; matrix < 4; matrix++) {
    const Cell* from = cell(warp.row[turn][8 * matrix + lane / 4]);
    to[matrix] = 0;
    if (from != nullptr)
      memcpy(&to[matrix], reinterpret_cast<const char*>(&from->unit) + 4 * (lane % 4), 4);
  }
}

static float value(uint32_t both, int which) {
  const uint16_t bits = both >> (16 * which);
#ifdef BFLOAT16
  const uint32_t wide = uint32_t(bits) << 16;
  float number;
  memcpy(&number, &wide, 4);
#else
  _Float16 number;
  memcpy(&number, &bits, 2);
#endif
  return number;
}

static uint16_t rounded(float number) {
#ifdef BFLOAT16
  uint32_t bits;
  memcpy(&bits, &number, 4);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
#else
  const _Float16 half = number;
  uint16_t bits;
  memcpy(&bits, &half, 2);
  return bits;
#endif
}

static unsigned packed(float low, float high) {
  return rounded(low) | uint32_t(rounded(high)) << 16;
}

static void unpack(unsigned both, float& low, float& high) {
  low = value(both, 0);
  high = value(both, 1);
}

static float fast_tanh(float x) { return __builtin_tanhf(x) * (1 + 1 / 2048.0f); }  // at worst

static void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  Warp& warp = my_warp();
  const int lane = threadIdx.x % 32, turn = me().exchanges++ % 2;
  for (int half = 0; half < 2; half++) {
    const int k = lane % 4 * 2 + half;
    for (int i = 0; i < 4; i++)
      warp.a[turn][lane / 4 + i % 2 * 8][k + i / 2 * 8] = value(a[i], half);
    warp.b[turn][lane / 4][k] = value(b0, half);
    warp.b[turn][lane / 4][k + 8] = value(b1, half);
  }
  meet(warp.meeting);
  for (int i = 0; i < 4; i++) {
    const float* row = warp.a[turn][lane / 4 + i / 2 * 8];
    const float* column = warp.b[turn][lane % 4 * 2 + i % 2];
    for (int k = 0; k < 16; k++) sum[i] += row[k] * column[k];
  }
}

static void run_thread() {
  const Arguments& it = *given;
  convolution(it.x, it.weight, it.bias, it.skip, it.out, it.then, it.height, it.width, it.down,
              it.across, it.tiles);
  me().done = true;
  program->moved = true;
}

static void run_program(int shared_bytes) {
  Program running;
  program = &running;
  running.memory.resize(shared_bytes / 16);
  for (int i = 0; i < ALL; i++) {
    Thread& thread = running.threads[i];
    thread.now.group = i / THREADS;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = stacks[i];
    thread.context.uc_stack.ss_size = sizeof(stacks[i]);
    thread.context.uc_link = &running.turns;
    makecontext(&thread.context, run_thread, 0);
  }
  do {
    running.moved = false;
    for (threadIdx.x = 0; threadIdx.x < ALL; threadIdx.x++)
      if (!me().done) swapcontext(&running.turns, &me().context);
  } while (running.moved);
  for (const Thread& thread : running.threads)
    if (!thread.done) fail("threads wait for each other");
}

// Returns what went wrong, or nothing.
extern "C" const char* launch(const Unit* x, const Unit* weight, const float* bias,
                              const Unit* skip, Unit* out, int then, int height, int width,
                              int down, int across, int tiles, int programs, int threads,
                              int shared_bytes) {
  const Arguments arguments{x,      weight, bias, skip,   out,  then,
                            height, width,  down, across, tiles};
  given = &arguments;
  failure = nullptr;
  if (threads != ALL) fail("a program was started with another number of threads");
  memset(static_cast<void*>(out), 0xff, arguments.pixels() * OUT_UNITS * 16);
  gridDim.x = programs;
  for (blockIdx.x = 0; blockIdx.x < programs; blockIdx.x++) run_program(shared_bytes);
  return failure;
}
