//! From frames to tensors: decode what the pack needs, cut out the part that it takes, refuse what is no picture.

use std::time::{Duration, Instant};

use overread_dicom::read::{self, CodecHost, Limits, Opened, ReadError, Resolution};
use overread_domain::{GridSize, ImageGrid, NotAssessed, Region, sentence};
use overread_infer::manifest::{Fit, PictureRegion};
use overread_infer::{Pack, Tensor, quality};

use crate::intake::{ImageFile, Study};
use crate::reader::{FrameRef, Options};

/// A frame on its way to the graph.
pub(crate) struct Ready {
    pub(crate) frame: FrameRef,
    /// Its tensor, or why the picture is no picture to read, or why it cannot be decoded.
    pub(crate) outcome: Result<Result<Tensor, NotAssessed>, String>,
    /// Opening the file and decoding pixels.
    pub(crate) decode: Duration,
    /// From pixels to the tensor.
    pub(crate) preprocess: Duration,
}

/// Makes frames of a study ready for a pack, in one thread.
pub(crate) struct Frames<'a> {
    study: &'a Study,
    pack: &'a Pack,
    limits: &'a Limits,
    options: Options,
    codec: &'a mut CodecHost,
    /// The image that was opened last: a header with a thousand frames is not parsed for each.
    open: Option<(usize, Opened)>,
}

impl<'a> Frames<'a> {
    pub(crate) const fn new(
        study: &'a Study,
        pack: &'a Pack,
        limits: &'a Limits,
        options: Options,
        codec: &'a mut CodecHost,
    ) -> Self {
        Self { study, pack, limits, options, codec, open: None }
    }

    pub(crate) fn batch(&mut self, frames: &[FrameRef]) -> Vec<Ready> {
        frames.iter().map(|frame| self.ready(frame)).collect()
    }

    fn ready(&mut self, frame: &FrameRef) -> Ready {
        let file = &self.study.images[frame.image];
        let place = format!("{}, frame {}", file.name, frame.frame + 1);
        let started = Instant::now();
        let grid = self.decoded(frame, file);
        let decode = started.elapsed();
        let outcome = match grid {
            Err(e) => Err(format!("{place}: {}", sentence(&e))),
            Ok(grid) => match quality::objection(&grid) {
                Some(objection) => Ok(Err(objection)),
                None => self
                    .pack
                    .manifest
                    .preprocessing
                    .tensor(&grid)
                    .map(Ok)
                    .map_err(|e| format!("{place}: {e}")),
            },
        };
        Ready { frame: frame.clone(), outcome, decode, preprocess: started.elapsed() - decode }
    }

    fn decoded(&mut self, frame: &FrameRef, file: &ImageFile) -> Result<ImageGrid, ReadError> {
        let part = part(self.pack, file);
        let all = self.options.full_decode || part.is_some();
        let wanted = if all { Resolution::Full } else { needed(self.pack, file) };
        let opened = match self.open.take().filter(|(image, _)| *image == frame.image) {
            Some((_, opened)) => opened,
            None => read::open(&file.path, self.limits)?,
        };
        let grid = opened.decode(frame.frame, wanted, self.codec);
        self.open = Some((frame.image, opened));
        grid.map(|grid| if let Some(part) = part { grid.cropped(part) } else { grid })
    }
}

/// A reduced decode keeps at least so many pixels for each of the tensor's, on each side, because codecs reduce with filters of their
/// own and a probability may move by 0.02 at most. A level of JPEG 2000 is most of its cost; scaled JPEG saves little.
fn oversampling(file: &ImageFile) -> f64 {
    if read::is_jpeg_2000(&file.header.transfer_syntax) { 1.5 } else { 3.0 }
}

/// The part of a file's frames that the pack takes; none where it takes all.
fn part(pack: &Pack, file: &ImageFile) -> Option<Region> {
    if pack.manifest.preprocessing.region == PictureRegion::Whole {
        return None;
    }
    let size = GridSize::new(file.header.columns, file.header.rows);
    let usable = file.header.ultrasound_regions.iter().filter(|region| region.lies_in(size));
    usable.max_by_key(|region| region.size.pixels()).copied()
}

/// The part of a file's frames that a map spans, in widths and heights of the frame.
pub(crate) fn area(pack: &Pack, file: &ImageFile) -> [f64; 4] {
    let whole = GridSize::new(file.header.columns, file.header.rows);
    let Some(part) = part(pack, file) else { return pack.manifest.preprocessing.area(whole) };
    let [left, top, right, bottom] = part.share_of(whole);
    let within = pack.manifest.preprocessing.area(part.size);
    let (across, down) = (|x: f64| left + x * (right - left), |y: f64| top + y * (bottom - top));
    [across(within[0]), down(within[1]), across(within[2]), down(within[3])]
}

/// The resolution that the pack needs of a file.
fn needed(pack: &Pack, file: &ImageFile) -> Resolution {
    let wanted = |n: u32| (f64::from(n) * oversampling(file)).ceil() as u32;
    let (width, height) =
        (wanted(pack.manifest.preprocessing.width), wanted(pack.manifest.preprocessing.height));
    match pack.manifest.preprocessing.fit {
        Fit::Stretch | Fit::CentreCrop => Resolution::AtLeast(GridSize::new(width, height)),
        Fit::Letterbox => {
            // The longer side fills the tensor; the shorter one follows.
            let (columns, rows) = (f64::from(file.header.columns.max(1)), f64::from(file.header.rows.max(1)));
            let scale = (f64::from(width) / columns).min(f64::from(height) / rows);
            let side = |n: f64| (n * scale).ceil().max(1.0) as u32;
            Resolution::AtLeast(GridSize::new(side(columns), side(rows)))
        }
    }
}
