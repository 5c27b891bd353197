//! Which levels a wrapped slide has.

use overread_domain::GridSize;

use crate::read::SlideLevel;

/// A level of the slide whose longer side is shorter than this is left out: the one above it fits any screen.
const SMALLEST: u32 = 256;
/// Levels are added by halving until the longer side is no longer than this, so that a viewer can show all of the slide by reading little.
const OVERVIEW: u32 = 1024;

/// A level that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Columns and rows.
    pub(super) size: GridSize,
    /// The level of the slide that it is; none where it is the one before it, halved: four pixels become one.
    pub(super) from: Option<usize>,
}

/// The slide's own levels, then halves of the coarsest.
pub(super) fn of(slide: &[SlideLevel]) -> Vec<Level> {
    let longer = |size: GridSize| size.columns.max(size.rows);
    let own = slide.iter().enumerate().filter(|(index, level)| *index == 0 || longer(level.size) >= SMALLEST);
    let mut levels: Vec<Level> =
        own.map(|(index, level)| Level { size: level.size, from: Some(index) }).collect();
    while let Some(coarsest) = levels.last().map(|level| level.size)
        && longer(coarsest) > OVERVIEW
    {
        let size = GridSize::new((coarsest.columns / 2).max(1), (coarsest.rows / 2).max(1));
        levels.push(Level { size, from: None });
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(sizes: &[(u32, u32)]) -> Vec<((u32, u32), Option<usize>)> {
        let level = |&(columns, rows): &(u32, u32)| SlideLevel {
            size: GridSize::new(columns, rows),
            downsample: f64::from(sizes[0].0) / f64::from(columns),
        };
        let levels = of(&sizes.iter().map(level).collect::<Vec<_>>());
        levels.into_iter().map(|l| ((l.size.columns, l.size.rows), l.from)).collect()
    }

    #[test]
    fn a_slide_of_one_level_becomes_a_pyramid() {
        assert_eq!(
            planned(&[(2220, 2967)]),
            [((2220, 2967), Some(0)), ((1110, 1483), None), ((555, 741), None)]
        );
        assert_eq!(planned(&[(40, 30)]), [((40, 30), Some(0))]);
        assert_eq!(planned(&[(1025, 1)]), [((1025, 1), Some(0)), ((512, 1), None)]);
    }

    #[test]
    fn a_slides_own_levels_stay_but_for_tiny_ones() {
        assert_eq!(
            planned(&[(46_000, 32_914), (11_500, 8_228), (2_875, 2_057)])[2..],
            [((2_875, 2_057), Some(2)), ((1_437, 1_028), None), ((718, 514), None)]
        );
        assert_eq!(
            planned(&[(1000, 760), (500, 380), (250, 190)]),
            [((1000, 760), Some(0)), ((500, 380), Some(1))]
        );
    }
}
