//! WADO-RS: pictures a browser shows (PS3.18 §8.3.5, §10.4.1.4, edition 2025c): JPEG or PNG, by the header's VOI or by
//! the window that the URL names.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use overread_dicom::read::Resolution;
use overread_domain::{
    Channels, GridSize, ImageGrid, Photometric, Samples, VoiTransform, WindowFunction, for_samples,
};

use crate::Shared;
use crate::archive::InstanceEntry;
use crate::body::{boundary, closing, multipart, part_head, produce, typed};
use crate::frames::{check, frame_list};
use crate::problem::Problem;
use crate::wado::{Client, Instance, Named, Parameters};

/// Longest side that a viewport may have, in pixels.
const LONGEST: u32 = 8192;
/// Sides of a thumbnail where the URL names none, in pixels.
const THUMBNAIL: (u32, u32) = (200, 200);
const QUALITY: u8 = 90;

/// What the URL asks of a picture.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    format: ImageFormat,
    quality: u8,
    window: Option<VoiTransform>,
    viewport: Option<Viewport>,
}

/// The `viewport` parameter (§8.3.5.1.3).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Viewport {
    size: (u32, u32),
    /// Left, top, width and height of the part of the frame that is shown; the last two end at the frame's edge if left out.
    region: Option<(f64, f64, Option<f64>, Option<f64>)>,
}

/// `GET …/rendered` of a study, series or instance.
pub(crate) async fn rendered(
    shared: State<Shared>,
    named: Named,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    let (wish, warning) = Wish::parse(&parameters, &client, None)?;
    picture(shared.0, named, wish, warning, false).await
}

/// `GET …/thumbnail` of a study, series or instance.
pub(crate) async fn thumbnail(
    shared: State<Shared>,
    named: Named,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    let (wish, warning) = Wish::parse(&parameters, &client, Some(THUMBNAIL))?;
    picture(shared.0, named, wish, warning, true).await
}

/// `GET …/frames/{frames}/rendered`
pub(crate) async fn rendered_frames(
    shared: State<Shared>,
    named: Named,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    let (wish, warning) = Wish::parse(&parameters, &client, None)?;
    pictures(shared.0, named, wish, warning).await
}

/// `GET …/frames/{frames}/thumbnail`
pub(crate) async fn rendered_thumbnail(
    shared: State<Shared>,
    named: Named,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    let (wish, warning) = Wish::parse(&parameters, &client, Some(THUMBNAIL))?;
    pictures(shared.0, named, wish, warning).await
}

/// One picture for what the URL names: of several images the middle one; of several frames the first, or for a thumbnail the middle one.
async fn picture(
    shared: Shared,
    named: Named,
    wish: Wish,
    warning: Option<&'static str>,
    middle: bool,
) -> Result<Response, Problem> {
    let images: Vec<InstanceEntry> =
        shared.instances(&named.scope).await?.into_iter().filter(|e| e.frames > 0).collect();
    let entry =
        images.get(images.len() / 2).ok_or_else(|| Problem::not_acceptable("there is no image to show"))?;
    let instance = shared.open(entry).await?;
    let frame = if middle { entry.frames / 2 } else { 0 };
    check(&instance, &[frame])?;
    let bytes = render(&shared, &instance, frame, &wish).await?;
    Ok(warned(typed(wish.media(), bytes), warning))
}

async fn pictures(
    shared: Shared,
    named: Named,
    wish: Wish,
    warning: Option<&'static str>,
) -> Result<Response, Problem> {
    let frames = frame_list(named.words.get("frames").map(String::as_str).unwrap_or_default())?;
    let entry = shared.instance(&named.scope).await?;
    let instance = shared.open(&entry).await?;
    check(&instance, &frames)?;
    let first = render(&shared, &instance, frames[0], &wish).await?;
    let media = wish.media();
    if frames.len() == 1 {
        return Ok(warned(typed(media, first), warning));
    }
    let mark = boundary();
    let heads = [true, false].map(|first| part_head(&mark, first, media, None));
    let end = closing(&mark);
    let body = produce(shared.archive.limits().idle, |sink| async move {
        let [head, other] = heads;
        sink.send(head).await?;
        sink.send(first).await?;
        for frame in frames.into_iter().skip(1) {
            let next = render(&shared, &instance, frame, &wish).await?;
            sink.send(other.clone()).await?;
            sink.send(next).await?;
        }
        Ok(sink.send(end).await?)
    });
    Ok(warned(multipart(&mark, media, body), warning))
}

fn warned(mut response: Response, warning: Option<&'static str>) -> Response {
    if let Some(text) = warning {
        response.headers_mut().append("warning", HeaderValue::from_static(text));
    }
    response
}

impl Wish {
    fn parse(
        parameters: &Parameters,
        client: &Client,
        default: Option<(u32, u32)>,
    ) -> Result<(Self, Option<&'static str>), Problem> {
        let format = client.accepts.iter().find_map(|r| {
            let formats = [("image/jpeg", ImageFormat::Jpeg), ("image/png", ImageFormat::Png)];
            formats.into_iter().find(|(media, _)| r.covers(media)).map(|(_, format)| format)
        });
        let format =
            format.ok_or_else(|| Problem::not_acceptable("pictures are made as image/jpeg or image/png"))?;
        let viewport = parameters.get("viewport").map(viewport).transpose()?;
        let quality = match parameters.get("quality") {
            None => QUALITY,
            Some(text) => {
                let quality = text.parse().ok().filter(|q| (1..=100).contains(q));
                quality.ok_or_else(|| Problem::bad("quality is a whole number from 1 to 100"))?
            }
        };
        let window = parameters.get("window").map(window).transpose()?;
        let viewport = viewport.or(default.map(|size| Viewport { size, region: None }));
        const LEFT_OUT: &str =
            "299 overread \"The annotation and iccprofile parameters are not supported and were left out.\"";
        let warning =
            ["annotation", "iccprofile"].iter().any(|n| parameters.get(n).is_some_and(|v| v != "no"));
        Ok((Self { format, quality, window, viewport }, warning.then_some(LEFT_OUT)))
    }

    const fn media(&self) -> &'static str {
        match self.format {
            ImageFormat::Png => "image/png",
            _ => "image/jpeg",
        }
    }
}

/// `center,width[,function]` (§8.3.5.1.4)
fn window(text: &str) -> Result<VoiTransform, Problem> {
    let wrong = || {
        Problem::bad(
            "window is `center,width` or `center,width,function` with linear, linear-exact or sigmoid",
        )
    };
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let number = |i: usize| fields.get(i).and_then(|t| t.parse::<f64>().ok()).filter(|v| v.is_finite());
    let function = match fields.get(2).map(|f| f.to_ascii_lowercase()).as_deref() {
        None | Some("linear") => WindowFunction::Linear,
        Some("linear-exact") => WindowFunction::LinearExact,
        Some("sigmoid") => WindowFunction::Sigmoid,
        Some(_) => return Err(wrong()),
    };
    let least = if function == WindowFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
    match (number(0), number(1)) {
        (Some(center), Some(width)) if width >= least && fields.len() <= 3 => {
            Ok(VoiTransform::Window { center, width, function })
        }
        _ => Err(wrong()),
    }
}

/// `vw,vh[,sx,sy,sw,sh]` (§8.3.5.1.3)
fn viewport(text: &str) -> Result<Viewport, Problem> {
    let wrong = || {
        Problem::bad(format!(
            "viewport is `vw,vh` or `vw,vh,sx,sy,sw,sh`, its sides from 1 to {LONGEST}, without flips"
        ))
    };
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let side = |i: usize| {
        let text: &str = fields.get(i)?;
        let side = text.parse::<f64>().ok()?;
        (1.0..=f64::from(LONGEST)).contains(&side).then_some(side as u32)
    };
    let size = (side(0).ok_or_else(wrong)?, side(1).ok_or_else(wrong)?);
    let place = |i: usize| match fields.get(i) {
        None | Some(&"") => Ok(None),
        Some(text) => {
            text.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0).map(Some).ok_or_else(wrong)
        }
    };
    let region = match fields.len() {
        2 => None,
        3..=6 => Some((place(2)?.unwrap_or(0.0), place(3)?.unwrap_or(0.0), place(4)?, place(5)?)),
        _ => return Err(wrong()),
    };
    Ok(Viewport { size, region })
}

/// One frame as a picture file.
async fn render(shared: &Shared, instance: &Instance, frame: u32, wish: &Wish) -> Result<Vec<u8>, Problem> {
    let (object, wish) = (instance.object.clone(), wish.clone());
    let made = shared.decoders.run(move |host| {
        let header = object.header();
        let resolution = match wish.viewport {
            Some(Viewport { size, region: None }) => {
                let (width, height) = fitted((header.columns, header.rows), size);
                Resolution::AtLeast(GridSize::new(width, height))
            }
            _ => Resolution::Full,
        };
        let grid = object.decode(frame, resolution, host).map_err(|e| Problem::read(&e))?;
        let shown = display(&grid, wish.window.as_ref());
        let shown = shown.ok_or_else(|| Problem::not_acceptable("the frame has no pixels to show"))?;
        encode(&placed(shown, wish.viewport)?, &wish)
    });
    made.await?
}

/// The largest size of the same shape within a box.
fn fitted((width, height): (u32, u32), (most_wide, most_high): (u32, u32)) -> (u32, u32) {
    let (w, h) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let scale = (f64::from(most_wide) / w).min(f64::from(most_high) / h);
    let side = |n: f64, most: u32| ((n * scale).round() as u32).clamp(1, most);
    (side(w, most_wide), side(h, most_high))
}

/// Cuts and scales a picture as the viewport says.
fn placed(picture: DynamicImage, viewport: Option<Viewport>) -> Result<DynamicImage, Problem> {
    let Some(Viewport { size, region }) = viewport else { return Ok(picture) };
    let picture = match region {
        None => picture,
        Some((left, top, width, height)) => {
            let (w, h) = (f64::from(picture.width()), f64::from(picture.height()));
            let (right, bottom) =
                (width.map_or(w, |v| left + v).min(w), height.map_or(h, |v| top + v).min(h));
            if right - left < 1.0 || bottom - top < 1.0 {
                return Err(Problem::bad("the viewport's part of the frame is empty"));
            }
            picture.crop_imm(left as u32, top as u32, (right - left) as u32, (bottom - top) as u32)
        }
    };
    let (width, height) = fitted((picture.width(), picture.height()), size);
    Ok(picture.resize_exact(width, height, FilterType::Triangle))
}

fn encode(picture: &DynamicImage, wish: &Wish) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    let written = match wish.format {
        ImageFormat::Png => picture.write_to(&mut std::io::Cursor::new(&mut out), ImageFormat::Png),
        _ => JpegEncoder::new_with_quality(&mut out, wish.quality).encode_image(picture),
    };
    written.map_err(|e| Problem::internal("a picture could not be written", &e))?;
    Ok(out)
}

/// A frame as a person sees it, 8 bits a sample; none if its samples do not fill it.
#[expect(clippy::useless_conversion, reason = "one of the sample types is f64 already")]
fn display(grid: &ImageGrid, window: Option<&VoiTransform>) -> Option<DynamicImage> {
    let GridSize { columns, rows } = grid.size;
    if grid.channels == Channels::Rgb {
        let bytes = colours(&grid.samples, grid.bits_stored);
        return RgbImage::from_raw(columns, rows, bytes).map(DynamicImage::ImageRgb8);
    }
    let automatic;
    let voi = match window.or(grid.voi.first()) {
        Some(voi) => voi,
        None => {
            automatic = full_range(grid);
            &automatic
        }
    };
    let inverted = grid.photometric == Photometric::Monochrome1;
    let shade = |stored: f64| {
        if is_padding(grid, stored) {
            return 0;
        }
        let value = voi.apply(grid.modality.apply(stored));
        ((if inverted { 1.0 - value } else { value }) * 255.0).round() as u8
    };
    // A table where it is smaller than the picture's own work.
    let bytes = match &grid.samples {
        Samples::U8(v) => {
            let table: Vec<u8> = (0..=u8::MAX).map(|x| shade(f64::from(x))).collect();
            v.iter().map(|x| table[usize::from(*x)]).collect()
        }
        Samples::U16(v) if v.len() > 1 << 16 => {
            let table: Vec<u8> = (0..=u16::MAX).map(|x| shade(f64::from(x))).collect();
            v.iter().map(|x| table[usize::from(*x)]).collect()
        }
        samples => for_samples!(samples, v => v.iter().map(|x| shade(f64::from(*x))).collect()),
    };
    GrayImage::from_raw(columns, rows, bytes).map(DynamicImage::ImageLuma8)
}

fn is_padding(grid: &ImageGrid, stored: f64) -> bool {
    grid.padding.is_some_and(|(a, b)| (a.min(b)..=a.max(b)).contains(&stored))
}

/// The window from the lowest to the highest value that is no padding, for a frame whose header names none.
#[expect(clippy::useless_conversion, reason = "one of the sample types is f64 already")]
fn full_range(grid: &ImageGrid) -> VoiTransform {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for_samples!(&grid.samples, v => for x in v {
        let stored = f64::from(*x);
        if stored.is_finite() && !is_padding(grid, stored) {
            let value = grid.modality.apply(stored);
            (low, high) = (low.min(value), high.max(value));
        }
    });
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let width = (high - low).max(f64::MIN_POSITIVE);
    VoiTransform::Window { center: (low + high) / 2.0, width, function: WindowFunction::LinearExact }
}

/// Colour samples in 8 bits.
#[expect(clippy::useless_conversion, reason = "one of the sample types is f64 already")]
fn colours(samples: &Samples, bits: u16) -> Vec<u8> {
    if let Samples::U8(v) = samples
        && bits == 8
    {
        return v.clone();
    }
    let highest = (2f64.powi(i32::from(bits.clamp(1, 64))) - 1.0).max(1.0);
    let byte = |x: f64| (x / highest * 255.0).round().clamp(0.0, 255.0) as u8;
    for_samples!(samples, v => v.iter().map(|x| byte(f64::from(*x))).collect())
}

#[cfg(test)]
mod tests {
    use overread_domain::ModalityTransform;

    use super::*;

    fn grid(samples: Samples, photometric: Photometric) -> ImageGrid {
        let size = GridSize::new(samples.len() as u32, 1);
        ImageGrid {
            size,
            full_size: size,
            phase: 0.0,
            channels: Channels::Grey,
            samples,
            photometric,
            bits_stored: 16,
            modality: ModalityTransform::Linear { slope: 1.0, intercept: -1000.0 },
            voi: Vec::new(),
            padding: Some((-5.0, -5.0)),
            spacing: None,
            geometry: None,
        }
    }

    #[test]
    fn values_become_shades() {
        let samples = Samples::I16(vec![-5, 1000, 1050, 1100]);
        let shown = |g: &ImageGrid, w: Option<&VoiTransform>| display(g, w).unwrap().into_bytes();
        let plain = grid(samples.clone(), Photometric::Monochrome2);
        assert_eq!(shown(&plain, None), [0, 0, 128, 255]);
        assert_eq!(shown(&grid(samples, Photometric::Monochrome1), None), [0, 255, 128, 0]);
        let asked = window("50,1").unwrap();
        assert_eq!(shown(&plain, Some(&asked)), [0, 0, 255, 255]);
    }

    #[test]
    fn parameters_that_cannot_be_meant_are_refused() {
        for wrong in ["", "1", "1,0", "1,2,cubic", "x,2", "1,2,linear,4", "1,inf"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0,5", "5", "5,99999", "5,5,-1", "5,5,0,0,x", "1,1,1,1,1,1,1"] {
            assert!(viewport(wrong).is_err(), "{wrong}");
        }
        assert_eq!(viewport("10,20,,5").unwrap().region, Some((0.0, 5.0, None, None)));
    }

    #[test]
    fn pictures_keep_their_shape() {
        assert_eq!(fitted((512, 256), (100, 100)), (100, 50));
        assert_eq!(fitted((1, 10_000), (50, 50)), (1, 50));
    }
}
