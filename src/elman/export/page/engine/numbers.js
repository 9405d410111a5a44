// The randomness of replies, as numpy makes it: a seed gives the same words as in `elman chat`.

const MASK_32 = 0xffffffffn, MASK_64 = (1n << 64n) - 1n, MASK_128 = (1n << 128n) - 1n;
const POINTS_AT_ONCE = 64, BITS_OF_A_FRACTION = 53;

/** Philox 4x64 with ten rounds (Salmon et al. 2011): four numbers of a counter and a key. */
function philox(counter, key) {
  let [a, b, c, d] = counter, [k, l] = key;
  for (let round = 0; round < 10; round++) {
    const first = a * 0xd2e7470ee14c6c93n, second = c * 0xca5a826395121157n;
    [a, b, c, d] = [
      (second >> 64n) ^ b ^ k, second & MASK_64, (first >> 64n) ^ d ^ l, first & MASK_64,
    ];
    k = (k + 0x9e3779b97f4a7c15n) & MASK_64;
    l = (l + 0xbb67ae8584caa73bn) & MASK_64;
  }
  return [a, b, c, d];
}

/** Numbers drawn evenly from 0 to 1, one for each token of a reply (generate/points.py). */
class Points {
  constructor(seed, choice = 0n) {
    this.key = [BigInt.asUintN(64, seed), choice];
    this.block = -1;
  }

  at(place) {
    const block = Math.floor(place / POINTS_AT_ONCE);
    if (block !== this.block) {
      this.block = block;
      this.numbers = [];
      for (let n = 1n; this.numbers.length < POINTS_AT_ONCE; n++) {
        this.numbers.push(...philox([n, BigInt(block), 0n, 0n], this.key).map(
          (each) => Number(each >> 11n) / 2 ** BITS_OF_A_FRACTION));
      }
    }
    return this.numbers[place % POINTS_AT_ONCE];
  }
}

/** Draws the seeds of replies, one after the other: numpy's default_rng (PCG64, O'Neill 2014). */
class Seeds {
  constructor(seed = randomSeed()) {
    const words = seedWords(BigInt.asUintN(64, seed), 8);
    const wide = (at) => words.slice(at, at + 4).reduceRight((sum, each) => (sum << 32n) | each, 0n);
    const swapped = (number) => ((number & MASK_64) << 64n) | (number >> 64n);
    this.increment = ((swapped(wide(4)) << 1n) | 1n) & MASK_128;
    this.state = (this.increment + swapped(wide(0))) & MASK_128;
    this.step();
  }

  step() {
    this.state = (this.state * 0x2360ed051fc65da44385df649fccf645n + this.increment) & MASK_128;
  }

  next() {
    this.step();
    const turn = this.state >> 122n, mixed = (this.state >> 64n) ^ (this.state & MASK_64);
    return ((mixed >> turn) | (mixed << (64n - turn))) & MASK_64;
  }
}

function randomSeed() {
  return crypto.getRandomValues(new BigUint64Array(1))[0];
}

/** numpy's SeedSequence: words of 32 bits that a seed is spread over. */
function seedWords(seed, count) {
  const entropy = seed >> 32n ? [seed & MASK_32, seed >> 32n] : [seed];
  let constant = 0x43b0d7e5n;
  const hashed = (value) => {
    value ^= constant;
    constant = (constant * 0x931e8875n) & MASK_32;
    value = (value * constant) & MASK_32;
    return value ^ (value >> 16n);
  };
  const mixed = (x, y) => {
    const result = (0xca01f9ddn * x - 0x4973f715n * y) & MASK_32;
    return result ^ (result >> 16n);
  };
  const pool = [0, 1, 2, 3].map((n) => hashed(entropy[n] ?? 0n));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  }
  let other = 0x8b51f9ddn;
  return Array.from({ length: count }, (_, n) => {
    let value = pool[n % 4] ^ other;
    other = (other * 0x58f38dedn) & MASK_32;
    value = (value * other) & MASK_32;
    return value ^ (value >> 16n);
  });
}
