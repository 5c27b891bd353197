//! What boxes of a frame mean together: noise that looks like a sign goes, what lies between two words of a line comes in.

use super::region::{Region, Why};

/// Height of the lowest box that can hold letters that can be read, in pixels of the frame.
const LOWEST: u32 = 5;
/// How much longer than high a box with a word is, at least.
const WORD: f64 = 1.6;
/// How many heights of a line a gap in it is wide, at most.
const GAP: u32 = 4;

/// The boxes of words, and those between neighbours in a line.
pub(super) fn whole(found: Vec<Region>) -> Vec<Region> {
    let found = without_specks(found);
    let between = gaps(&found);
    [found, between].concat()
}

/// Boxes that may hold a word. A single sign tells nobody, and noise in tissue looks like one: what stands alone and is no longer than high, or is lower than letters that
/// can be read, is no text.
fn without_specks(found: Vec<Region>) -> Vec<Region> {
    let sides = |r: &Region| (r.right - r.left, r.bottom - r.top);
    let readable = |r: &Region| sides(r).0.min(sides(r).1) >= LOWEST;
    let found: Vec<Region> = found.into_iter().filter(readable).collect();
    let words = merged(&found);
    let long = |r: &Region| {
        let (width, height) = sides(r);
        f64::from(width.max(height)) >= WORD * f64::from(width.min(height))
    };
    let word = |r: &Region| long(r) || words.iter().any(|w| w.holds(r) && long(w));
    found.into_iter().filter(word).collect()
}

/// The boxes between neighbours in a line: a word that crosses a bright edge is not seen, and those beside it are.
fn gaps(found: &[Region]) -> Vec<Region> {
    let mut gaps = Vec::new();
    for a in found {
        for b in found.iter().filter(|b| b.left > a.right && b.left - a.right <= GAP * (a.bottom - a.top)) {
            let (top, bottom) = (a.top.max(b.top), a.bottom.min(b.bottom));
            let height = (a.bottom - a.top).max(b.bottom - b.top);
            if bottom > top && 3 * (bottom - top) >= 2 * height {
                let (top, bottom) = (a.top.min(b.top), a.bottom.max(b.bottom));
                gaps.push(Region { top, bottom, left: a.right, right: b.left, why: Why::Text });
            }
        }
    }
    gaps
}

/// The boxes around boxes that touch, or that are closer to each other in a line than letters of a word are.
fn merged(found: &[Region]) -> Vec<Region> {
    let mut words: Vec<Region> = found.to_vec();
    let mut at = 0;
    while at < words.len() {
        let near = (0..words.len()).find(|other| *other != at && is_near(&words[at], &words[*other]));
        match near {
            Some(other) => {
                let b = words[other];
                let a = &mut words[at];
                (a.left, a.top) = (a.left.min(b.left), a.top.min(b.top));
                (a.right, a.bottom) = (a.right.max(b.right), a.bottom.max(b.bottom));
                words.swap_remove(other);
                at = 0;
            }
            None => at += 1,
        }
    }
    words
}

fn is_near(a: &Region, b: &Region) -> bool {
    let gap = |a: (u32, u32), b: (u32, u32)| a.0.max(b.0).saturating_sub(a.1.min(b.1));
    let height = (a.bottom - a.top).min(b.bottom - b.top);
    let beside = gap((a.left, a.right), (b.left, b.right));
    // Lines above each other overlap by their margins.
    let shared = a.bottom.min(b.bottom).saturating_sub(a.top.max(b.top));
    2 * shared >= height && beside <= height / 2
}

#[cfg(test)]
mod tests {
    use overread_domain::GridSize;

    use super::*;

    fn region(edges: [i64; 4]) -> Region {
        Region::within(GridSize::new(200, 100), edges, Why::Text).unwrap()
    }

    #[test]
    fn a_lone_sign_is_noise_and_a_row_of_signs_is_a_word() {
        let (speck, flat) = (region([10, 10, 20, 22]), region([10, 80, 60, 84]));
        assert!(whole(vec![speck, flat]).is_empty());
        let row = vec![region([10, 40, 20, 52]), region([22, 41, 32, 53]), region([35, 40, 45, 52])];
        assert!(row.iter().all(|sign| whole(row.clone()).contains(sign)));
        // Lines above each other are no row.
        assert!(whole(vec![speck, region([10, 21, 20, 33])]).is_empty());
        let upright = region([150, 10, 160, 60]);
        assert_eq!(whole(vec![upright]), [upright]);
    }

    #[test]
    fn what_lies_between_words_of_a_line_goes_too() {
        let (one, other, below) =
            (region([10, 10, 50, 20]), region([80, 11, 120, 21]), region([60, 40, 110, 50]));
        let found = whole(vec![one, other, below]);
        assert_eq!(found.len(), 4);
        assert!(found.contains(&region([50, 10, 80, 21])), "{found:?}");
        assert_eq!(whole(vec![one, region([100, 10, 140, 20])]).len(), 2, "too far");
    }
}
