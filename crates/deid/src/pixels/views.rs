//! A frame as a person could see it: planes of display values from 0 to 1.

use overread_domain::{Channels, ImageGrid, Samples, for_samples};

/// One way to show a frame: grey once, or red, green and blue, each a plane row by row.
pub(crate) struct View {
    pub(crate) planes: Vec<Vec<f32>>,
}

/// The fewest pixels that a short text has.
const INK: usize = 60;

/// The ways in which a frame is shown to the detector. A grey frame is shown over its full range, where no text can hide
/// beyond a window's ends, through its VOI transform, where faint text is not lost in a wide range, and by its extreme values alone.
pub(crate) fn views(grid: &ImageGrid) -> Vec<View> {
    let mut views = vec![full_range(grid)];
    if grid.channels == Channels::Grey {
        // More than the first is rarely another picture.
        for voi in grid.voi.iter().take(1) {
            let show = |stored: f64| voi.apply(grid.modality.apply(stored)) as f32;
            views.push(View { planes: vec![displayed(&grid.samples, show)] });
        }
        views.extend(extremes(grid));
    }
    views
}

/// Stored values from the least to the greatest, over all channels.
fn full_range(grid: &ImageGrid) -> View {
    let (low, high) = range(&grid.samples);
    let span = if high > low { high - low } else { 1.0 };
    let all = displayed(&grid.samples, |stored| ((stored - low) / span) as f32);
    let channels = grid.channels.count();
    let plane = |c: usize| all.iter().skip(c).step_by(channels).copied().collect();
    View { planes: (0..channels).map(plane).collect() }
}

/// Only the least and the greatest value, on grey: machines write with them, and tissue that is as bright as the text has rarely
/// the very same value. None where too few pixels have them.
#[allow(clippy::float_cmp, reason = "the very value is what is meant")]
fn extremes(grid: &ImageGrid) -> Option<View> {
    let (low, high) = range(&grid.samples);
    let mark = |stored: f64| {
        if stored == high {
            1.0
        } else if stored == low {
            0.0
        } else {
            0.5
        }
    };
    let plane = displayed(&grid.samples, mark);
    let count = |value: f32| plane.iter().filter(|v| **v == value).count();
    let some = [0.0, 1.0].map(count).into_iter().any(|n| n >= INK && n < plane.len() / 4);
    some.then_some(View { planes: vec![plane] })
}

/// Least and greatest finite value.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one macro body serves all sample types")]
pub(crate) fn range(samples: &Samples) -> (f64, f64) {
    for_samples!(samples, v => v
        .iter()
        .map(|s| *s as f64)
        .filter(|s| s.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| (low.min(s), high.max(s))))
}

/// Display values; what is no number is black.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one macro body serves all sample types")]
fn displayed(samples: &Samples, show: impl Fn(f64) -> f32) -> Vec<f32> {
    let shown = |stored: f64| {
        let value = show(stored);
        if value.is_finite() { value } else { 0.0 }
    };
    for_samples!(samples, v => v.iter().map(|s| shown(*s as f64)).collect())
}

#[cfg(test)]
mod tests {
    use overread_domain::{GridSize, ModalityTransform, Photometric, VoiTransform, WindowFunction};

    use super::*;

    fn grey(samples: Samples, voi: Vec<VoiTransform>) -> ImageGrid {
        let size = GridSize::new(samples.len() as u32, 1);
        ImageGrid {
            size,
            full_size: size,
            phase: 0.0,
            channels: Channels::Grey,
            samples,
            photometric: Photometric::Monochrome2,
            bits_stored: 12,
            modality: ModalityTransform::Linear { slope: 1.0, intercept: -1000.0 },
            voi,
            padding: None,
            spacing: None,
            geometry: None,
        }
    }

    #[test]
    fn a_grey_frame_is_shown_in_full_and_through_its_window() {
        let window =
            VoiTransform::Window { center: 50.0, width: 100.0, function: WindowFunction::LinearExact };
        let views = views(&grey(Samples::I16(vec![0, 1000, 1050, 4000]), vec![window]));
        assert_eq!(views.len(), 2);
        assert_eq!(views[0].planes[0], [0.0, 0.25, 0.2625, 1.0]);
        assert_eq!(views[1].planes[0], [0.0, 0.0, 0.5, 1.0]);
    }

    #[test]
    fn signs_of_an_extreme_value_are_shown_alone() {
        let mut samples: Vec<u16> = (0..1000).map(|n| 100 + n % 50).collect();
        samples[..80].fill(4095);
        let shown = views(&grey(Samples::U16(samples.clone()), vec![]));
        assert_eq!(shown.len(), 2);
        assert_eq!(
            (shown[1].planes[0][0], shown[1].planes[0][500], shown[1].planes[0][101]),
            (1.0, 0.0, 0.5)
        );
        samples[..80].fill(120);
        samples[0] = 0;
        samples[1] = 4095;
        assert_eq!(views(&grey(Samples::U16(samples), vec![])).len(), 1, "two pixels are no text");
    }

    #[test]
    fn what_is_no_number_and_what_is_flat_are_black() {
        let views = views(&grey(Samples::F32(vec![f32::NAN, 2.0, f32::INFINITY, 4.0]), vec![]));
        assert_eq!(views[0].planes[0], [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(super::views(&grey(Samples::U8(vec![7; 4]), vec![]))[0].planes[0], [0.0; 4]);
    }
}
