//! From picture to tensor, as the pack's manifest says: VOI, polarity, fit, resize, normalise.

use std::ops::Range;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use overread_domain::{
    Channels, GridSize, ImageGrid, ModalityTransform, Photometric, Samples, VoiTransform, WindowFunction,
    for_samples,
};

use crate::error::InferError;
use crate::manifest::{Filter, Fit, FixedWindow, Preprocessing, VoiRule};

/// Rows that are displayed and narrowed at once: a band of a wide picture fits the processor's second cache.
const BAND: u32 = 32;

/// Appends the display values of a range of pixels.
type Display<'a> = Box<dyn Fn(Range<usize>, &mut Vec<F32>) + 'a>;

/// One picture as a graph takes it: `channels × height × width`, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Normalised values.
    pub values: Vec<f32>,
}

impl Preprocessing {
    /// The tensor of a picture.
    ///
    /// # Errors
    /// A picture that holds fewer samples than its size says.
    pub fn tensor(&self, grid: &ImageGrid) -> Result<Tensor, InferError> {
        let mut tensor = self.resized(grid)?;
        let plane = self.width as usize * self.height as usize;
        for (channel, values) in tensor.values.chunks_exact_mut(plane).enumerate() {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            values.iter_mut().for_each(|v| *v = (*v - mean) / std);
        }
        Ok(tensor)
    }

    /// The tensor before normalisation: values from 0 (black) to 1 (white), before overshoot of the filter.
    ///
    /// # Errors
    /// See [`Preprocessing::tensor`].
    pub fn resized(&self, grid: &ImageGrid) -> Result<Tensor, InferError> {
        let expected = grid.size.pixels() as usize * grid.channels.count();
        if grid.samples.len() != expected || expected == 0 {
            return Err(InferError::Preprocess(format!(
                "the picture has {} samples where its size asks for {expected}",
                grid.samples.len()
            )));
        }
        let planes = self.displays(grid);
        let mut values = Vec::with_capacity(self.channels * self.width as usize * self.height as usize);
        for plane in &planes {
            values.extend(self.fitted(plane, grid)?.into_iter().map(|p| p.0));
        }
        // A grey picture for a colour graph: the same plane thrice.
        let (plane_len, planes) = (values.len() / planes.len(), planes.len());
        for _ in planes..self.channels {
            values.extend_from_within(..plane_len);
        }
        Ok(Tensor { shape: [self.channels, self.height as usize, self.width as usize], values })
    }

    /// Each channel's display values, as functions from a band of samples to grey or colour values 0..1.
    fn displays<'a>(&self, grid: &'a ImageGrid) -> Vec<Display<'a>> {
        match (grid.channels, self.channels) {
            (Channels::Rgb, 3) => (0..3).map(|c| colour_plane(grid, c)).collect(),
            (Channels::Rgb, _) => vec![luma(grid)],
            (Channels::Grey, _) => {
                let lookups = match &self.voi {
                    VoiRule::Windows(windows) if !is_windowed_already(grid) => {
                        windows.iter().map(fixed_window).collect()
                    }
                    _ => vec![first_voi(grid)],
                };
                let invert = self.invert_monochrome1 && grid.photometric == Photometric::Monochrome1;
                lookups.into_iter().map(|voi| grey_plane(grid, voi, invert)).collect()
            }
        }
    }

    /// Displays and resizes a plane. The filter is separable: bands of rows are displayed and narrowed while they are in the
    /// processor's cache, and what they leave is then shortened; the whole picture never exists as floats.
    fn fitted(&self, display: &Display<'_>, grid: &ImageGrid) -> Result<Vec<F32>, InferError> {
        let problem = |e: String| InferError::Preprocess(format!("resize failed: {e}"));
        let (columns, rows) = (grid.size.columns, grid.size.rows);
        let (width, height) = self.inner_size(grid.full_size);
        let [left, top, kept_columns, kept_rows] = self.kept(grid);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(self.filter.into()));
        let mut resizer = Resizer::new();
        let mut narrowed: Vec<F32> = Vec::with_capacity(width as usize * rows as usize);
        let mut band: Vec<F32> = Vec::new();
        for first in (0..rows).step_by(BAND as usize) {
            let count = BAND.min(rows - first);
            band.clear();
            display(
                first as usize * columns as usize..(first + count) as usize * columns as usize,
                &mut band,
            );
            let source = TypedImageRef::new(columns, count, &band).map_err(|e| problem(e.to_string()))?;
            let mut target = TypedImage::<F32>::new(width, count);
            let options = options.crop(left, 0.0, kept_columns, f64::from(count));
            resizer.resize_typed(&source, &mut target, &options).map_err(|e| problem(e.to_string()))?;
            narrowed.extend_from_slice(target.pixels());
        }
        let source = TypedImageRef::new(width, rows, &narrowed).map_err(|e| problem(e.to_string()))?;
        let mut target = TypedImage::<F32>::new(width, height);
        let options = options.crop(0.0, top, f64::from(width), kept_rows);
        resizer.resize_typed(&source, &mut target, &options).map_err(|e| problem(e.to_string()))?;
        Ok(self.padded(target.pixels().to_vec(), (width, height)))
    }

    /// Left, top, width and height of the part of the picture that is used.
    fn kept(&self, grid: &ImageGrid) -> [f64; 4] {
        let phase = grid.phase;
        let (columns, rows) = (f64::from(grid.size.columns) - phase, f64::from(grid.size.rows) - phase);
        if self.fit != Fit::CentreCrop {
            return [phase, phase, columns, rows];
        }
        let shape = f64::from(self.width) / f64::from(self.height);
        let (width, height) =
            if columns / rows > shape { (rows * shape, rows) } else { (columns, columns / shape) };
        [phase + (columns - width) / 2.0, phase + (rows - height) / 2.0, width, height]
    }

    /// The part of a picture of a size that the tensor shows: left, top, right and bottom in widths and heights of the picture. A
    /// letterboxed tensor reaches beyond it, below 0 and above 1.
    pub fn area(&self, full: GridSize) -> [f64; 4] {
        match self.fit {
            Fit::Stretch => [0.0, 0.0, 1.0, 1.0],
            Fit::CentreCrop => {
                let picture = f64::from(full.columns) / f64::from(full.rows);
                let shape = f64::from(self.width) / f64::from(self.height);
                let (across, down) = ((shape / picture).min(1.0), (picture / shape).min(1.0));
                [
                    (1.0 - across) / 2.0,
                    (1.0 - down) / 2.0,
                    f64::midpoint(1.0, across),
                    f64::midpoint(1.0, down),
                ]
            }
            Fit::Letterbox => {
                let (across, down) = self.inner_size(full);
                let ends = |all: u32, inner: u32| {
                    let before = f64::from((all - inner) / 2);
                    [-before / f64::from(inner), (f64::from(all) - before) / f64::from(inner)]
                };
                let ([left, right], [top, bottom]) = (ends(self.width, across), ends(self.height, down));
                [left, top, right, bottom]
            }
        }
    }

    /// The size that a picture of a size itself takes inside the tensor.
    fn inner_size(&self, full: GridSize) -> (u32, u32) {
        if self.fit != Fit::Letterbox {
            return (self.width, self.height);
        }
        let scale = (f64::from(self.width) / f64::from(full.columns))
            .min(f64::from(self.height) / f64::from(full.rows));
        let side = |n: u32, most: u32| ((f64::from(n) * scale).round() as u32).clamp(1, most);
        (side(full.columns, self.width), side(full.rows, self.height))
    }

    fn padded(&self, pixels: Vec<F32>, inner: (u32, u32)) -> Vec<F32> {
        if inner == (self.width, self.height) {
            return pixels;
        }
        let (width, inner_width) = (self.width as usize, inner.0 as usize);
        let left = (width - inner_width) / 2;
        let top = (self.height - inner.1) as usize / 2;
        let mut out = vec![F32::new(0.0); width * self.height as usize];
        for (row, line) in pixels.chunks_exact(inner_width).enumerate() {
            let start = (top + row) * width + left;
            out[start..start + inner_width].copy_from_slice(line);
        }
        out
    }
}

impl From<Filter> for FilterType {
    fn from(filter: Filter) -> Self {
        match filter {
            Filter::Bilinear => Self::Bilinear,
            Filter::Bicubic => Self::CatmullRom,
            Filter::Lanczos3 => Self::Lanczos3,
        }
    }
}

fn fixed_window(window: &FixedWindow) -> VoiTransform {
    VoiTransform::Window { center: window.center, width: window.width, function: WindowFunction::LinearExact }
}

/// Whether a picture holds display values and no modality values, such as a photograph of a slice: unsigned samples without a rescale, of
/// 8 bits or to be shown over their whole range. Hounsfield units need more room and go below zero.
fn is_windowed_already(grid: &ImageGrid) -> bool {
    let whole = f64::from(u16::MAX >> 16u16.saturating_sub(grid.bits_stored));
    let shown_whole =
        matches!(grid.voi.first(), Some(VoiTransform::Window { width, .. }) if (width - whole).abs() < 1.0);
    let unsigned = match grid.samples {
        Samples::U8(_) => true,
        Samples::U16(_) => shown_whole,
        _ => false,
    };
    unsigned && grid.modality == ModalityTransform::Identity
}

/// The file's first VOI, or a window over the whole range where it names none.
fn first_voi(grid: &ImageGrid) -> VoiTransform {
    if let Some(voi) = grid.voi.first() {
        return voi.clone();
    }
    let (low, high) = value_range(grid);
    VoiTransform::Window {
        center: f64::midpoint(low, high),
        width: (high - low).max(f64::MIN_POSITIVE),
        function: WindowFunction::LinearExact,
    }
}

/// Representable modality values up to 8 bits (a photograph's 0 is black); else those observed, padding left out.
fn value_range(grid: &ImageGrid) -> (f64, f64) {
    let ends = match &grid.samples {
        Samples::U8(_) => Some((0.0, f64::from((1u32 << grid.bits_stored.min(8)) - 1))),
        _ => None,
    };
    let (low, high) = ends.unwrap_or_else(|| observed_range(grid));
    let (a, b) = (grid.modality.apply(low), grid.modality.apply(high));
    (a.min(b), a.max(b))
}

#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one macro body serves all sample types")]
fn observed_range(grid: &ImageGrid) -> (f64, f64) {
    let range = for_samples!(&grid.samples, v => {
        let values = v.iter().map(|s| *s as f64).filter(|s| s.is_finite() && !is_padding(grid, *s));
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| (low.min(s), high.max(s)))
    });
    if range.0 <= range.1 { range } else { (0.0, 1.0) }
}

fn is_padding(grid: &ImageGrid, stored: f64) -> bool {
    grid.padding.is_some_and(|(a, b)| stored >= a.min(b) && stored <= a.max(b))
}

/// Display values 0..1 of a grey picture. Integers up to 16 bits go through a table: one entry a stored value.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one macro body serves all sample types")]
fn grey_plane(grid: &ImageGrid, voi: VoiTransform, invert: bool) -> Display<'_> {
    let show = move |stored: f64| {
        if is_padding(grid, stored) {
            return F32::new(0.0);
        }
        let value = voi.apply(grid.modality.apply(stored)) as f32;
        F32::new(if invert { 1.0 - value } else { value })
    };
    match &grid.samples {
        Samples::U8(v) => {
            let table: Vec<F32> = (0..=u8::MAX).map(|s| show(s.into())).collect();
            Box::new(move |range, out| out.extend(v[range].iter().map(|s| table[usize::from(*s)])))
        }
        Samples::U16(v) => {
            let most = v.iter().copied().max().unwrap_or(0);
            let table: Vec<F32> = (0..=most).map(|s| show(s.into())).collect();
            Box::new(move |range, out| out.extend(v[range].iter().map(|s| table[usize::from(*s)])))
        }
        Samples::I16(v) => {
            let table: Vec<F32> = (i16::MIN..=i16::MAX).map(|s| show(s.into())).collect();
            let entry = |s: &i16| (i32::from(*s) - i32::from(i16::MIN)) as usize;
            Box::new(move |range, out| out.extend(v[range].iter().map(|s| table[entry(s)])))
        }
        other => Box::new(move |range, out| {
            for_samples!(other, v => out.extend(v[range].iter().map(|s| show(*s as f64))));
        }),
    }
}

fn full_scale(grid: &ImageGrid) -> f32 {
    ((1u64 << grid.bits_stored.clamp(1, 32)) - 1) as f32
}

fn colours(range: Range<usize>) -> Range<usize> {
    range.start * 3..range.end * 3
}

#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one macro body serves all sample types")]
fn colour_plane(grid: &ImageGrid, channel: usize) -> Display<'_> {
    let scale = full_scale(grid);
    Box::new(move |range, out| {
        for_samples!(&grid.samples, v => {
            out.extend(v[colours(range)].chunks_exact(3).map(|rgb| F32::new(rgb[channel] as f32 / scale)));
        });
    })
}

/// ITU-R BT.601 luma, as the training code's grey conversion.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "one macro body serves all sample types")]
fn luma(grid: &ImageGrid) -> Display<'_> {
    let scale = full_scale(grid);
    Box::new(move |range, out| {
        for_samples!(&grid.samples, v => out.extend(
            v[colours(range)]
                .chunks_exact(3)
                .map(|p| F32::new((0.299 * p[0] as f32 + 0.587 * p[1] as f32 + 0.114 * p[2] as f32) / scale))
        ));
    })
}
