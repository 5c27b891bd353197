//! Pictures that no reader should be asked about.

use overread_domain::{ImageGrid, NotAssessed, for_samples};

/// Below this many pixels on a side there is nothing to read.
const SMALLEST_SIDE: u32 = 64;

/// Why a picture cannot be read at all; none if it can.
pub fn objection(grid: &ImageGrid) -> Option<NotAssessed> {
    let (columns, rows) = (grid.full_size.columns, grid.full_size.rows);
    if columns.min(rows) < SMALLEST_SIDE {
        return Some(NotAssessed {
            code: "image-too-small".into(),
            message: format!(
                "the image has {columns}×{rows} pixels; at least {SMALLEST_SIDE} a side are needed"
            ),
        });
    }
    no_contrast(grid)
}

/// Why a part of a picture says nothing; none if it may.
pub fn no_contrast(grid: &ImageGrid) -> Option<NotAssessed> {
    let constant = for_samples!(&grid.samples, v => v.windows(2).all(|pair| pair[0] == pair[1]));
    constant.then(|| NotAssessed {
        code: "no-contrast".into(),
        message: "all pixels of the image have the same value".into(),
    })
}
