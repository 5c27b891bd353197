//! The answer as a picture: the image as it is, beside it the image under the explanation, and what was found in words.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::{FONT_9X15, FONT_10X20};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Baseline, Text};
use embedded_graphics::{Drawable, Pixel};
use overread_domain::{Decision, Explanation, Finding, sided};
use overread_infer::InferError;
use overread_infer::manifest::{Filter, Fit, PictureRegion, Preprocessing, VoiRule};

use crate::reader::{FrameExplanation, Reading};

/// Pixels of one panel's longer side.
pub const PANEL: u32 = 640;
/// Height of a line of text.
const LINE: i32 = 22;
const MARGIN: i32 = 8;
/// How much of the map's colour covers the picture where the map is strongest.
const OPACITY: f32 = 0.55;

/// A colour picture, row by row, three bytes a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Red, green, blue.
    pub rgb: Vec<u8>,
}

/// Makes the picture of a reading over one of its frames.
///
/// # Errors
/// The image cannot be scaled.
pub fn draw(
    grid: &overread_domain::ImageGrid,
    reading: &Reading,
    map: Option<&FrameExplanation>,
) -> Result<Picture, InferError> {
    let (width, height) = panel_size(grid.full_size.columns, grid.full_size.rows);
    let panel = display(grid, width, height)?;
    let lines = caption(reading, map);
    let panels = if map.is_some() { 2 } else { 1 };
    let width_all = (width * panels).max(720);
    let caption_height = (lines.len() as i32 * LINE + 2 * MARGIN) as u32;
    let mut canvas = Canvas {
        picture: Picture {
            width: width_all,
            height: height + caption_height,
            rgb: vec![0; (width_all * (height + caption_height) * 3) as usize],
        },
    };
    canvas.paste(&panel, (width, height), 0);
    if let Some(e) = map {
        let covered = covered(&panel, (width, height), &e.map, e.area);
        canvas.paste(&covered, (width, height), width);
    }
    for (i, (text, colour)) in lines.iter().enumerate() {
        let at = Point::new(MARGIN, height as i32 + MARGIN + i as i32 * LINE);
        let style = if i <= 1 {
            MonoTextStyle::new(&FONT_10X20, *colour)
        } else {
            MonoTextStyle::new(&FONT_9X15, *colour)
        };
        // Drawing on this canvas cannot fail: what lies outside is left out.
        let _ = Text::with_baseline(text, at, style, Baseline::Top).draw(&mut canvas);
    }
    Ok(canvas.picture)
}

fn panel_size(columns: u32, rows: u32) -> (u32, u32) {
    let scale = f64::from(PANEL) / f64::from(columns.max(rows).max(1));
    let side = |n: u32| ((f64::from(n) * scale).round() as u32).clamp(64, PANEL);
    (side(columns), side(rows))
}

/// The picture as a person would see it, by the file's own VOI, as RGB.
fn display(grid: &overread_domain::ImageGrid, width: u32, height: u32) -> Result<Vec<u8>, InferError> {
    let spec = Preprocessing {
        width,
        height,
        channels: 3,
        voi: VoiRule::FirstWindowOrFullRange,
        invert_monochrome1: true,
        region: PictureRegion::Whole,
        fit: Fit::Stretch,
        filter: Filter::Bilinear,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
    };
    let planes = spec.resized(grid)?.values;
    let plane = (width * height) as usize;
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    Ok((0..plane).flat_map(|i| [0, 1, 2].map(|c| byte(planes[c * plane + i]))).collect())
}

/// The picture under the part of the map that spoke for the finding.
fn covered(
    panel: &[u8],
    (width, height): (u32, u32),
    map: &Explanation,
    [left, top, right, bottom]: [f64; 4],
) -> Vec<u8> {
    // What tiles say lies between 0 and 1 by itself.
    let tiles = map.method == crate::slide::TILES;
    let most = if tiles { 1.0 } else { map.values.iter().copied().fold(0f32, f32::max) };
    let mut out = panel.to_vec();
    if most <= 0.0 {
        return out;
    }
    for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
        let x = (f64::from(i as u32 % width) + 0.5) / f64::from(width);
        let y = (f64::from(i as u32 / width) + 0.5) / f64::from(height);
        let (u, v) = ((x - left) / (right - left), (y - top) / (bottom - top));
        if !(0.0..=1.0).contains(&u) || !(0.0..=1.0).contains(&v) {
            // The pack did not look here.
            continue;
        }
        let value = if tiles { nearest(map, u, v) } else { interpolated(map, u as f32, v as f32) };
        let strength = (value / most).clamp(0.0, 1.0);
        let alpha = OPACITY * strength;
        for (value, colour) in pixel.iter_mut().zip(heat(strength)) {
            *value = (f32::from(*value) * (1.0 - alpha) + colour * alpha).round() as u8;
        }
    }
    out
}

/// The map's cell at a place from 0 to 1: a tile ends where it ends.
fn nearest(map: &Explanation, x: f64, y: f64) -> f32 {
    let (across, down) = map.grid;
    let cell = |place: f64, cells: usize| ((place * cells as f64) as usize).min(cells - 1);
    map.values[cell(y, down) * across + cell(x, across)]
}

/// The map between the centres of its cells, at a place from 0 to 1.
fn interpolated(map: &Explanation, x: f32, y: f32) -> f32 {
    let (across, down) = map.grid;
    let place = |v: f32, cells: usize| (v * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
    let (x, y) = (place(x, across), place(y, down));
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(across - 1), (y0 + 1).min(down - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let at = |x: usize, y: usize| map.values[y * across + x];
    let top = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
    let bottom = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
    top * (1.0 - fy) + bottom * fy
}

/// Purple over orange to yellow: rises in brightness, so it reads in grey and for colour-blind eyes too.
fn heat(strength: f32) -> [f32; 3] {
    const STOPS: [[f32; 3]; 4] =
        [[60.0, 15.0, 110.0], [190.0, 55.0, 85.0], [245.0, 130.0, 30.0], [252.0, 230.0, 110.0]];
    let place = strength * (STOPS.len() - 1) as f32;
    let low = (place as usize).min(STOPS.len() - 2);
    let part = place - low as f32;
    std::array::from_fn(|c| STOPS[low][c] * (1.0 - part) + STOPS[low + 1][c] * part)
}

fn caption(reading: &Reading, map: Option<&FrameExplanation>) -> Vec<(String, Rgb888)> {
    let manifest = &reading.program.pack.manifest;
    let mut lines = vec![(manifest.title.clone(), Rgb888::WHITE)];
    if let Some(reason) = &reading.not_assessed {
        lines.push(("NOT ASSESSED".into(), Rgb888::new(255, 200, 90)));
        lines.extend(wrapped(&reason.message, 76).into_iter().map(|l| (l, Rgb888::WHITE)));
    } else {
        lines.extend(reading.findings.iter().map(|f| (finding_line(f), Rgb888::WHITE)));
    }
    if let Some(FrameExplanation { map, side, .. }) = map {
        let what = match map.method.as_str() {
            "class-activation-map" => {
                "beside the image: what spoke for it (class-activation map, coarse; not a localisation)"
            }
            crate::slide::TILES => {
                "beside the image: what each tile says by itself, 0 to 1; not a localisation"
            }
            _ => "beside the image: what spoke for it (occlusion map, coarse; not a localisation)",
        };
        lines.push((format!("{}, {what}", sided(&map.label, *side)), Rgb888::new(190, 190, 190)));
    }
    let grey = Rgb888::new(150, 150, 150);
    lines.push((format!("{} edition {}", manifest.id, reading.program.pack.edition.short()), grey));
    let amber = Rgb888::new(255, 200, 90);
    lines.extend(manifest.caveats().iter().flat_map(|c| wrapped(c, 76)).map(|line| (line, amber)));
    lines.push(("AI result, unverified. Not for clinical use without local validation.".into(), grey));
    lines
}

/// One finding in a line of text.
pub fn finding_line(f: &Finding) -> String {
    let percent = |p: f64| format!("{:.1}%", p * 100.0);
    let number = match (f.probability, f.score) {
        (Some(p), _) => format!(" {}", percent(p.get())),
        (None, Some(score)) => format!(" score {score:.2} (not calibrated)"),
        (None, None) => String::new(),
    };
    let decision = match f.decision {
        Decision::Present => "PRESENT",
        Decision::Absent => "absent",
        Decision::Indeterminate => "INDETERMINATE, needs a reader",
        Decision::NotAssessed => "not assessed",
    };
    let at = f.prevalence.map_or(String::new(), |p| format!(" (at prevalence {})", percent(p.get())));
    let experimental = if f.experimental { ", experimental" } else { "" };
    format!("{}:{number} {decision}{at}{experimental}", f.name())
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + word.len() >= width {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

struct Canvas {
    picture: Picture,
}

impl Canvas {
    fn paste(&mut self, rgb: &[u8], (width, height): (u32, u32), left: u32) {
        let (stride, line) = (self.picture.width as usize * 3, width as usize * 3);
        for row in 0..height as usize {
            let start = row * stride + left as usize * 3;
            self.picture.rgb[start..start + line].copy_from_slice(&rgb[row * line..(row + 1) * line]);
        }
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.picture.width, self.picture.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(at.x), u32::try_from(at.y)) else { continue };
            if x < self.picture.width && y < self.picture.height {
                let start = (y * self.picture.width + x) as usize * 3;
                self.picture.rgb[start..start + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corner_map() -> Explanation {
        let mut values = vec![0.0; 49];
        values[6] = 2.0;
        Explanation { label: "x".into(), method: "class-activation-map".into(), grid: (7, 7), values }
    }

    #[test]
    fn the_map_covers_its_own_corner_and_no_other() {
        let panel = vec![100u8; 70 * 70 * 3];
        let grey = [100, 100, 100];
        let out = covered(&panel, (70, 70), &corner_map(), [0.0, 0.0, 1.0, 1.0]);
        let at = |x: usize, y: usize| &out[(y * 70 + x) * 3..][..3];
        assert!(at(69, 0) != grey && at(0, 69) == grey && at(0, 0) == grey);
        // A pack that looked at the left half alone: the map's corner is there, and nothing lies beyond it.
        let out = covered(&panel, (70, 70), &corner_map(), [0.0, 0.0, 0.5, 1.0]);
        let at = |x: usize, y: usize| &out[(y * 70 + x) * 3..][..3];
        assert!(at(34, 0) != grey && at(36, 0) == grey && at(69, 0) == grey);
    }

    #[test]
    fn interpolation_meets_the_cells_centres() {
        let map = corner_map();
        assert!((interpolated(&map, 6.5 / 7.0, 0.5 / 7.0) - 2.0).abs() < 1e-5);
        assert!((interpolated(&map, 5.5 / 7.0, 0.5 / 7.0)).abs() < 1e-5);
    }

    #[test]
    fn long_reasons_are_wrapped() {
        assert!(wrapped(&"word ".repeat(50), 40).iter().all(|l| l.len() <= 45));
    }
}
