//! Rectangles that must go, and why.

use overread_domain::GridSize;
use serde::Serialize;

/// Why a region goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The detector saw text.
    Text,
    /// It lies outside all items of Sequence of Ultrasound Regions (0018,6011).
    OutsideUltrasoundRegions,
    /// Devices of this kind write there.
    Device,
}

/// A rectangle of whole pixels, half open: `left..right` columns, `top..bottom` rows, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Region {
    /// First row.
    pub top: u32,
    /// First column.
    pub left: u32,
    /// The row after the last.
    pub bottom: u32,
    /// The column after the last.
    pub right: u32,
    /// Why it goes.
    pub why: Why,
}

impl Region {
    /// The part of a rectangle that lies inside a picture; none if that is empty.
    pub fn within(size: GridSize, [left, top, right, bottom]: [i64; 4], why: Why) -> Option<Self> {
        let clip = |n: i64, most: u32| n.clamp(0, i64::from(most)) as u32;
        let (left, right) = (clip(left, size.columns), clip(right, size.columns));
        let (top, bottom) = (clip(top, size.rows), clip(bottom, size.rows));
        (left < right && top < bottom).then_some(Self { top, left, bottom, right, why })
    }

    /// Whether all of `other` lies in it.
    pub const fn holds(&self, other: &Self) -> bool {
        self.left <= other.left
            && self.top <= other.top
            && self.right >= other.right
            && self.bottom >= other.bottom
    }
}

/// The regions without those that lie within another, in reading order.
pub(crate) fn without_inner(mut regions: Vec<Region>) -> Vec<Region> {
    let area = |r: &Region| u64::from(r.right - r.left) * u64::from(r.bottom - r.top);
    regions.sort_by_key(|r| std::cmp::Reverse(area(r)));
    let mut kept: Vec<Region> = Vec::with_capacity(regions.len());
    for region in regions {
        if !kept.iter().any(|k| k.holds(&region)) {
            kept.push(region);
        }
    }
    kept.sort();
    kept
}

/// Rectangles that together are all of a picture that none of `inside` covers.
pub(crate) fn outside(size: GridSize, inside: &[Region], why: Why) -> Vec<Region> {
    let mut cuts: Vec<u32> = inside.iter().flat_map(|r| [r.top, r.bottom]).chain([0, size.rows]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut rest = Vec::new();
    for band in cuts.windows(2) {
        let (top, bottom) = (band[0], band[1]);
        let mut spans: Vec<(u32, u32)> =
            inside.iter().filter(|r| r.top <= top && r.bottom >= bottom).map(|r| (r.left, r.right)).collect();
        spans.sort_unstable();
        let mut at = 0;
        for (left, right) in spans.into_iter().chain([(size.columns, size.columns)]) {
            if left > at {
                rest.push(Region { top, left: at, bottom, right: left, why });
            }
            at = at.max(right);
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region([left, top, right, bottom]: [i64; 4]) -> Region {
        Region::within(GridSize::new(10, 8), [left, top, right, bottom], Why::Text).unwrap()
    }

    #[test]
    fn inside_and_outside_tile_the_picture() {
        let size = GridSize::new(10, 8);
        let inside = [region([1, 1, 4, 4]), region([3, 2, 8, 6]), region([-5, 7, 2, 99])];
        let rest = outside(size, &inside, Why::OutsideUltrasoundRegions);
        for row in 0..8 {
            for column in 0..10 {
                let covers =
                    |r: &&Region| (r.left..r.right).contains(&column) && (r.top..r.bottom).contains(&row);
                let kept = inside.iter().any(|r| covers(&r));
                assert_eq!(rest.iter().filter(covers).count(), usize::from(!kept), "{column},{row}");
            }
        }
    }

    #[test]
    fn inner_regions_are_left_out() {
        let (big, small, other) = (region([0, 0, 5, 5]), region([1, 1, 2, 2]), region([4, 4, 9, 7]));
        assert_eq!(without_inner(vec![small, other, big, big]), [big, other]);
        assert_eq!(Region::within(GridSize::new(10, 8), [10, 0, 12, 3], Why::Text), None);
    }
}
