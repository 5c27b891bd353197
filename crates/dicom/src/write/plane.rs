//! Where a grid of cells lies on a slide (PS3.3 §C.8.12.2.1.1, the Slide Coordinate System).

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::Identified;

use super::WriteError;

/// Cells in the slide coordinate system: X and Y in the plane of the glass, Z up from its surface, millimetres.
///
/// The same struct tells where a slide's own pixels lie: they are cells of one pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlidePlane {
    /// X, Y, Z of the **centre** of the cell in row 0 and column 0, in millimetres.
    pub origin: [f64; 3],
    /// Image Orientation (Slide) (0048,0102): direction cosines of the row (to the next column), then of the column (to the next row).
    pub orientation: [f64; 6],
    /// Pixel Spacing (0028,0030) in millimetres: from row to row (down), then from column to column (across).
    pub spacing: [f64; 2],
}

impl SlidePlane {
    /// Where the pixels of a whole slide image (PS3.3 §A.32.8) lie: the total pixel matrix of this level, not of the slide's others.
    ///
    /// None where the header does not tell it, or tells what is no plane.
    pub fn of(image: &Identified<InMemDicomObject>) -> Option<Self> {
        let object = image.reveal();
        let origin = first(object, tags::TOTAL_PIXEL_MATRIX_ORIGIN_SEQUENCE)?;
        let offset = |tag| numbers::<1>(origin, tag).map(|[mm]| mm);
        let groups = first(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)?;
        let plane = Self {
            origin: [
                offset(tags::X_OFFSET_IN_SLIDE_COORDINATE_SYSTEM)?,
                offset(tags::Y_OFFSET_IN_SLIDE_COORDINATE_SYSTEM)?,
                // Not every slide has it: the surface of the glass.
                offset(tags::Z_OFFSET_IN_SLIDE_COORDINATE_SYSTEM).unwrap_or(0.0),
            ],
            orientation: numbers(object, tags::IMAGE_ORIENTATION_SLIDE)?,
            spacing: numbers(first(groups, tags::PIXEL_MEASURES_SEQUENCE)?, tags::PIXEL_SPACING)?,
        };
        plane.check().is_ok().then_some(plane)
    }

    /// Pixels of a slide that does not say where on the glass it was taken: the first pixel lies at the coordinate system's origin, and
    /// the picture is turned as most scanners turn it. Distances hold, places on the glass do not.
    pub const fn nominal(spacing: [f64; 2]) -> Self {
        Self { origin: [0.0; 3], orientation: [0.0, -1.0, 0.0, -1.0, 0.0, 0.0], spacing }
    }

    /// Cells of so many of these pixels (down, across), the first of which begins so many pixels from the top and from the left.
    ///
    /// Coordinates are those of centres, so the first cell's is half a cell less half a pixel away from the first pixel's.
    #[must_use]
    pub fn cells(&self, pixels: [f64; 2], first: [f64; 2]) -> Self {
        let centre = |axis: usize| first[axis] + (pixels[axis] - 1.0) / 2.0;
        Self {
            origin: self.position(centre(0), centre(1)),
            orientation: self.orientation,
            spacing: [self.spacing[0] * pixels[0], self.spacing[1] * pixels[1]],
        }
    }

    /// X, Y, Z of the centre of a cell in millimetres; the first cell is in row 0 and column 0.
    pub fn position(&self, row: f64, column: f64) -> [f64; 3] {
        let [down, across] = [row * self.spacing[0], column * self.spacing[1]];
        let along = |axis: usize| {
            self.origin[axis] + across * self.orientation[axis] + down * self.orientation[axis + 3]
        };
        [along(0), along(1), along(2)]
    }

    /// Whether a viewer can compute with it.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        let value = |name, tag, problem: &str| WriteError::Value { name, tag, problem: problem.into() };
        if !self.spacing.iter().all(|mm| mm.is_finite() && *mm > 0.0) {
            return Err(value("Pixel Spacing", tags::PIXEL_SPACING, "not two distances in millimetres"));
        }
        if !self.origin.iter().all(|mm| mm.is_finite()) {
            let name = "Total Pixel Matrix Origin Sequence";
            return Err(value(name, tags::TOTAL_PIXEL_MATRIX_ORIGIN_SEQUENCE, "not a place in millimetres"));
        }
        let (row, column) = self.orientation.split_at(3);
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let near = |found: f64, wanted: f64| (found - wanted).abs() < 1e-3;
        if near(product(row, row), 1.0)
            && near(product(column, column), 1.0)
            && near(product(row, column), 0.0)
        {
            return Ok(());
        }
        let problem = "not two directions at right angles, each of length 1";
        Err(value("Image Orientation (Slide)", tags::IMAGE_ORIENTATION_SLIDE, problem))
    }
}

fn first(object: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
    object.get(tag)?.items()?.first()
}

fn numbers<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    object.get(tag)?.value().to_multi_float64().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_lies_around_the_pixels_it_is_made_of() {
        let pixels = SlidePlane { origin: [20.0, 40.0, 0.0], ..SlidePlane::nominal([0.5, 0.25]) };
        // Rows run to smaller X, columns to smaller Y.
        assert_eq!(pixels.position(2.0, 4.0), [19.0, 39.0, 0.0]);
        let cells = pixels.cells([4.0, 8.0], [0.0, 0.0]);
        assert_eq!(cells.spacing, [2.0, 2.0]);
        // The first cell is made of rows 0 to 3 and columns 0 to 7.
        assert_eq!(cells.origin, pixels.position(1.5, 3.5));
        assert_eq!(cells.position(1.0, 2.0), pixels.position(5.5, 19.5));
        assert_eq!(pixels.cells([1.0, 1.0], [0.0, 0.0]), pixels);
        assert_eq!(pixels.cells([4.0, 8.0], [4.0, 16.0]).origin, cells.position(1.0, 2.0));
    }

    #[test]
    fn what_is_no_plane_is_refused() {
        let good = SlidePlane::nominal([0.5, 0.5]);
        good.check().unwrap();
        let bad = [
            SlidePlane { spacing: [0.5, 0.0], ..good },
            SlidePlane { spacing: [f64::NAN, 0.5], ..good },
            SlidePlane { origin: [0.0, f64::INFINITY, 0.0], ..good },
            SlidePlane { orientation: [0.0; 6], ..good },
            SlidePlane { orientation: [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], ..good },
        ];
        for plane in bad {
            assert!(plane.check().is_err(), "{plane:?}");
        }
    }
}
