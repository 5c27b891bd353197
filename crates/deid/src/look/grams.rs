//! A sieve for pixel data: which stretches of bytes cannot hold a needle.
//!
//! A needle of six bytes or more that lies anywhere in the bytes covers three in a row that start at a multiple of four.
//! Threes that no needle has are most of what pixels are made of, so one look in four bytes clears nearly everything, and
//! the searching machine runs over the rest.

use std::ops::Range;

/// The shortest needle that the sieve holds back.
pub(super) const SHORTEST: usize = 6;

const BITS: u32 = 18;

/// The threes of a list of needles, by their hashes.
pub(super) struct Grams(Vec<u64>);

impl Grams {
    /// The threes of needles, capitals or not.
    pub(super) fn of<'a>(needles: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut bits = vec![0; 1 << (BITS - 6)];
        for needle in needles.filter(|n| n.len() >= SHORTEST) {
            for three in needle.windows(3) {
                let hash = hash([three[0], three[1], three[2], 0]);
                bits[hash / 64] |= 1 << (hash % 64);
            }
        }
        Self(bits)
    }

    /// Whether a needle may lie in `bytes` that covers a place of `stretch`.
    pub(super) fn may_cover(&self, bytes: &[u8], stretch: Range<usize>) -> bool {
        let (fours, rest) = bytes[stretch.clone()].as_chunks::<4>();
        let suspicious =
            |at: usize, four: [u8; 4]| self.has(four) && self.six_around(bytes, stretch.start + at * 4);
        fours.iter().enumerate().any(|(at, four)| suspicious(at, *four))
            || matches!(rest, [a, b, c] if suspicious(fours.len(), [*a, *b, *c, 0]))
    }

    fn has(&self, four: [u8; 4]) -> bool {
        let hash = hash(four);
        self.0[hash / 64] >> (hash % 64) & 1 == 1
    }

    /// Whether six bytes that cover the three at a place are made of threes of needles.
    fn six_around(&self, bytes: &[u8], at: usize) -> bool {
        let six = |from: usize| bytes.get(from..from + SHORTEST);
        (at.saturating_sub(3)..=at)
            .filter_map(six)
            .any(|six| six.windows(3).all(|t| self.has([t[0], t[1], t[2], 0])))
    }
}

/// Of the first three bytes, with the bit that tells small letters from capitals set.
fn hash(four: [u8; 4]) -> usize {
    let three = (u32::from_le_bytes(four) & 0x00FF_FFFF) | 0x0020_2020;
    (three.wrapping_mul(0x9E37_79B1) >> (32 - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Wherever a needle lies, and whatever lies around it, it is not held back.
        #[test]
        fn no_needle_passes_unseen(needle in proptest::collection::vec(any::<u8>(), 6..40), before in proptest::collection::vec(any::<u8>(), 0..70), after in proptest::collection::vec(any::<u8>(), 0..70), capitals: bool, skip in 0usize..5) {
            let grams = Grams::of([needle.as_slice()].into_iter());
            let shown = if capitals { needle.to_ascii_uppercase() } else { needle.to_ascii_lowercase() };
            let at = skip.min(before.len());
            let bytes = [before, shown, after].concat();
            prop_assert!(grams.may_cover(&bytes, at..bytes.len()));
        }
    }

    #[test]
    fn noise_is_cleared() {
        let words = ["canary", "österberg", "12345678", "1.2.826.0.1.3680"];
        let grams = Grams::of(words.iter().map(|w| w.as_bytes()));
        let mut state = 1u32;
        let noise: Vec<u8> = (0..1 << 20)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let blocks = (0..256).filter(|n| grams.may_cover(&noise, n * 4096..(n + 1) * 4096)).count();
        assert!(blocks < 16, "{blocks} of 256 blocks would be searched");
    }
}
