// Drawing one token of each row, as generate/token_draw.py says in numpy.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <new>
#include <vector>

#include "loops.h"
#include "vec.h"

namespace elman::ELMAN_ISA {
namespace {

struct Candidate {
  double p;  // times what all have in common; later the sum up to here
  int64_t token;
};

constexpr int64_t BLOCK = 4 * W;

// The largest number of each block, so that most of a vocabulary is looked at once.
void find_largest(const float* logits, int64_t size, std::vector<float>& largest) {
  largest.clear();
  for (int64_t at = 0; at < size; at += BLOCK) {
    const int64_t n = std::min(BLOCK, size - at);
    float top = -__builtin_inff();
    if (n == BLOCK) {
      V most = load(logits + at);
      for (int64_t v = W; v < BLOCK; v += W) {
        const V x = load(logits + at + v);
        most = x > most ? x : most;
      }
      for (int lane = 0; lane < W; lane++) top = std::max(top, most[lane]);
    } else {
      for (int64_t k = 0; k < n; k++) top = std::max(top, logits[at + k]);
    }
    largest.push_back(top);
  }
}

struct Drawing {
  std::vector<float> largest;
  std::vector<Candidate> candidates;
};

int64_t drawn(const float* logits, int64_t size, double temperature, double top_p, double min_p,
              double point, Drawing& own) {
  auto& [largest, candidates] = own;
  find_largest(logits, size, largest);
  const int64_t block = std::max_element(largest.begin(), largest.end()) - largest.begin();
  const float* found = std::find(logits + block * BLOCK, logits + size, largest[block]);
  const int64_t best = found == logits + size ? 0 : found - logits;
  if (temperature <= 0) return best;
  const float top = logits[best];
  const float least = float(std::max(top + temperature * std::log(min_p), double(-FLT_MAX)));
  candidates.clear();
  for (int64_t at = 0; at < size; at += BLOCK) {
    if (!(largest[at / BLOCK] >= least) && at / BLOCK != best / BLOCK) continue;
    for (int64_t token = at; token < std::min(at + BLOCK, size); token++)
      if (logits[token] >= least || token == best)
        candidates.push_back({std::exp((logits[token] - top) / temperature), token});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.p != b.p ? a.p > b.p : a.token < b.token;
  });
  double sum = 0;
  for (Candidate& each : candidates) each.p = sum += each.p;
  size_t last = 0;
  while (last + 1 < candidates.size() && candidates[last].p < top_p * sum) last++;
  const double wanted = point * candidates[last].p;
  size_t at = 0;
  while (at < last && candidates[at].p <= wanted) at++;
  return candidates[at].token;
}

}  // namespace

// Returns whether there was memory enough.
bool draw(const ElmanDraw& job) {
  try {
    Drawing own;
    for (int64_t row = 0; row < job.rows; row++)
      job.tokens[row] = drawn(job.logits + row * job.V, job.V, job.temperature[row], job.top_p[row],
                              job.min_p[row], job.points[row], own);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace elman::ELMAN_ISA
