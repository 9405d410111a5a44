// A whole bot as structs of pointers and sizes: what crosses from Python once, when it is loaded.
#pragma once
#include <cstdint>

extern "C" {

struct ElmanMatrix {    // (N, K), packed in panels as for ElmanProduct, or as for ElmanForward
  int64_t N, K, kind;
  const void* packed;
  const float* scale;   // (N) for int8, else null
  const float* bias;    // (N) or null
};

struct ElmanLayer {     // x + cell(norm(x)), and x + down(silu(gate x') * up x') with x' = norm(x)
  int64_t cell, states;
  const float *norm_weight, *norm_bias;
  const ElmanMatrix* ih;
  const ElmanMatrix* hh;                         // null: the cell does not project its state
  const float *mlp_norm_weight, *mlp_norm_bias;
  const ElmanMatrix* up;                         // null: no MLP
  const ElmanMatrix* down;
};

struct ElmanStack {
  int64_t count;
  const ElmanLayer* layers;
  const float *norm_weight, *norm_bias;
};

struct ElmanTable {     // counted sequences of one length: runtime/counts.py
  int64_t size;
  const int64_t* contexts;
  const int32_t* begins;
  const float *totals, *left;
  const uint16_t* words;
  const float* counts;
};

struct ElmanBot {
  int64_t V, H;
  int64_t pointer;      // L, or 0
  int64_t key;          // D, the size of a recorded token's key
  int64_t orders;       // tokens of the longest counted sequence, or 0
  int64_t longest;      // tokens of a message that the encoder reads; 0: the memory of tokens
  const float* embedding;      // (V, H); null: it is stored in int8
  const ElmanMatrix* output;
  const ElmanMatrix* recorded; // (2 D, H): half of the next token's key, half of its own
  const ElmanMatrix* looking;  // (D + 2 + 1, H): query / sqrt(D), follow, sentinel
  const ElmanMatrix* tell;     // (H, D)
  const ElmanMatrix* gate;     // (1, H)
  const ElmanMatrix* context;  // (H, H), what the decoder is told of the conversation
  const ElmanStack* stack;     // through time: of tokens, or of the conversation
  const ElmanStack* encoder;   // null in the memory of tokens
  const ElmanStack* decoder;
  const ElmanTable* tables;    // of 1, 2, ... tokens
  const float* alone;          // (V) p of each token after nothing
  const int8_t* embedding_int8;  // (V, H)
  const float* embedding_scale;  // (V)
};

struct ElmanRead {      // reads tokens in some rows; the state changes in place
  int64_t rows;
  int64_t wanted;         // 0: the state alone; 1: logits after each row's last token; 2: nats;
                          // 3: nats of the vocabulary alone, without pointer and counts
  const ElmanBot* bot;
  const int64_t* tokens;  // row after row
  const int64_t* begins;  // (rows + 1), where each row begins
  float* const* state;    // (rows, size) each, in the order of the state's specification
  float* logits;          // (rows, V)
  double* nats;           // of each token; only those that are priced are written
};

struct ElmanDraw {        // one token for each row
  int64_t rows, V;
  const float* logits;    // (rows, V); -inf is never drawn
  const double *temperature, *top_p, *min_p;  // (rows); a temperature of 0 takes the likeliest
  const double* points;   // (rows), from 0 to 1
  int64_t* tokens;        // (rows)
};
}
