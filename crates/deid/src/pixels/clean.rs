//! An original → the same with its text blackened in every frame.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags as t;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use overread_dicom::read::{CodecHost, DicomFile, FrameBytes, NativeForm, ReadError, Resolution};
use overread_domain::{GridSize, ImageGrid, Uid};
use overread_infer::Runtime;

use super::detect::Detector;
use super::error::PixelError;
use super::paint::{Ink, Layout, Stored, darkest};
use super::region::{Region, without_inner};
use super::{attributes, known};
use crate::values::texts;
use crate::{part10, repeats};

/// In how many frames of an object text is looked for: the first, the last, and others evenly between them.
const LOOKED_AT: u32 = 8;

/// What was found in an object, and whether it was written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// What was blackened, the same in every frame; empty if nothing was found: then nothing was written, and the
    /// original is clean as it is.
    pub regions: Vec<Region>,
    /// How many frames the object has.
    pub frames: u32,
    /// The frames in which text was looked for, counted from 0.
    pub looked_at: Vec<u32>,
    /// How many pixels of a frame were blackened.
    pub pixels: u64,
    /// Size of a frame.
    pub size: GridSize,
    /// Burned In Annotation (0028,0301) of the original is YES.
    pub admits_text: bool,
}

impl Cleaned {
    /// Whether the original says that its pixels tell who the patient is, and nothing of that was found: then a person
    /// must look, and the object must not leave.
    pub const fn is_doubtful(&self) -> bool {
        self.admits_text && self.regions.is_empty()
    }
}

/// Finds and removes text that is burned into pixels. One a thread.
pub struct TextRemover {
    detector: Detector,
}

impl TextRemover {
    /// Opens the detector in its folder (`models/text-detection`); it computes on so many threads.
    ///
    /// # Errors
    /// [`PixelError::Model`]: the detector is not there, or is another than the one that was measured.
    pub fn open(runtime: &Runtime, folder: &Path, threads: usize) -> Result<Self, PixelError> {
        Ok(Self { detector: Detector::open(runtime, folder, threads)? })
    }

    /// With the detector that is part of this program.
    ///
    /// # Errors
    /// [`PixelError::Model`]: ONNX Runtime does not take it.
    pub fn built_in(runtime: &Runtime, threads: usize) -> Result<Self, PixelError> {
        Ok(Self { detector: Detector::built_in(runtime, threads)? })
    }

    /// Text in one frame, in pixels of the full-size frame; `frame` is what errors call it.
    ///
    /// # Errors
    /// [`PixelError::Detect`]: the detector fails.
    pub fn find(&mut self, grid: &ImageGrid, frame: u32) -> Result<Vec<Region>, PixelError> {
        self.detector.find(grid).map_err(|source| PixelError::Detect { frame, source })
    }

    /// Looks for text in up to eight frames of an object and at what its header tells; all of it goes from every frame.
    /// If there is any, the object is written: explicit VR little endian, uncompressed, header and pixels elsewhere as
    /// they were, compressed colour as RGB. Text that shows only in frames that were not looked at is not found.
    ///
    /// # Errors
    /// [`PixelError`]: a frame cannot be read, or the object cannot be written. What was written until then is none.
    pub fn clean(
        &mut self,
        file: &DicomFile,
        host: &mut CodecHost,
        out: &mut impl Write,
    ) -> Result<Cleaned, PixelError> {
        let object = file.dataset().reveal();
        let frames = file.header().frames;
        let looked_at = sample(frames);
        let mut regions = Vec::new();
        let mut first = None;
        for frame in &looked_at {
            let grid = file
                .decode(*frame, Resolution::Full, host)
                .map_err(|source| PixelError::Frame { frame: *frame, source })?;
            regions.extend(self.find(&grid, *frame)?);
            first.get_or_insert(grid);
        }
        let first = first.ok_or(PixelError::Pixels(ReadError::NoPixels))?;
        let size = first.full_size;
        regions.extend(known::regions(object, size));
        let regions = without_inner(regions);
        if !regions.is_empty() {
            let form = file.native_form().map_err(PixelError::Pixels)?;
            Outgoing { file, form, size, regions: &regions, frames }.write(&first, host, out)?;
        }
        let says = texts(object, t::BURNED_IN_ANNOTATION).unwrap_or_default();
        let admits_text = says.iter().any(|v| v == "YES");
        Ok(Cleaned { pixels: covered(size, &regions), regions, frames, looked_at, size, admits_text })
    }
}

/// The frames to look at.
fn sample(frames: u32) -> Vec<u32> {
    let count = frames.min(LOOKED_AT);
    let at = |i: u32| (u64::from(frames - 1) * u64::from(i) / u64::from((count - 1).max(1))) as u32;
    (0..count).map(at).collect::<BTreeSet<u32>>().into_iter().collect()
}

/// How many pixels lie in at least one region.
fn covered(size: GridSize, regions: &[Region]) -> u64 {
    let mut row_bits = vec![false; size.columns as usize];
    let rows = 0..size.rows;
    rows.map(|row| {
        row_bits.fill(false);
        for region in regions.iter().filter(|r| (r.top..r.bottom).contains(&row)) {
            row_bits[region.left as usize..region.right as usize].fill(true);
        }
        row_bits.iter().filter(|b| **b).count() as u64
    })
    .sum()
}

/// An object that is to be written with regions blackened.
struct Outgoing<'a> {
    file: &'a DicomFile,
    form: NativeForm,
    size: GridSize,
    regions: &'a [Region],
    frames: u32,
}

impl Outgoing<'_> {
    fn write(&self, first: &ImageGrid, host: &mut CodecHost, out: &mut impl Write) -> Result<(), PixelError> {
        if self.form.ragged && self.frames > 1 {
            return Err(PixelError::Unsupported { what: "frames of single bits that share bytes" });
        }
        let bytes = self.form.frame_bytes.saturating_mul(u64::from(self.frames));
        let length = u32::try_from(bytes.next_multiple_of(2)).ok().filter(|n| *n < u32::MAX);
        let length = length.ok_or(PixelError::TooLarge { bytes })?;
        let layout = self.layout()?;
        let mut frame = self.frame(0, layout, host)?;
        let ink = Ink::of(&frame, layout, self.size, darkest(first));
        out.write_all(&self.head(length)?).map_err(PixelError::Write)?;
        for number in 0..self.frames {
            if number > 0 {
                frame = self.frame(number, layout, host)?;
            }
            self.regions.iter().for_each(|region| ink.paint(&mut frame, layout, self.size, region));
            out.write_all(&frame).map_err(PixelError::Write)?;
        }
        if bytes % 2 == 1 {
            out.write_all(&[0]).map_err(PixelError::Write)?;
        }
        out.flush().map_err(PixelError::Write)
    }

    fn frame(&self, number: u32, layout: Layout, host: &mut CodecHost) -> Result<Vec<u8>, PixelError> {
        let unreadable = |source| PixelError::Frame { frame: number, source };
        let bytes = self.file.native_frame(number, host).map_err(unreadable)?;
        if bytes.len() != layout.frame_bytes(self.size) {
            return Err(PixelError::Unsupported { what: "frames of another length than their size says" });
        }
        Ok(bytes)
    }

    fn layout(&self) -> Result<Layout, PixelError> {
        let object = self.file.dataset().reveal();
        let whole = |tag: Tag| object.get(tag).and_then(|e| e.to_int::<u16>().ok());
        let photometric = texts(object, t::PHOTOMETRIC_INTERPRETATION).unwrap_or_default().join("\\");
        Layout::of(Stored {
            photometric: self.form.photometric.unwrap_or(&photometric),
            samples: whole(t::SAMPLES_PER_PIXEL).unwrap_or(1),
            // Frames that were decoded are interleaved.
            planar: self.form.photometric.is_none() && whole(t::PLANAR_CONFIGURATION) == Some(1),
            allocated: self.form.bits_allocated,
        })
    }

    /// All that goes before the frames.
    fn head(&self, length: u32) -> Result<Vec<u8>, PixelError> {
        let original = self.file.dataset().reveal();
        let mut object = original.clone();
        attributes::put(&mut object, &self.form, self.lossy()?);
        if original.get(t::SPECIFIC_CHARACTER_SET).is_some() || repeats::is_beyond_ascii(&object) {
            object.put(DataElement::new(t::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"));
        }
        let uid = |tag, name: &'static str| {
            let value = texts(&object, tag).and_then(|v| Uid::parse(v.first()?).ok());
            value.ok_or_else(|| PixelError::Meta(Box::new(crate::DeidError::Uid { name, tag })))
        };
        let class = uid(t::SOP_CLASS_UID, "SOP Class UID")?;
        let instance = uid(t::SOP_INSTANCE_UID, "SOP Instance UID")?;
        let mut head = part10::meta(&class, &instance, EXPLICIT_VR_LITTLE_ENDIAN.uid())
            .map_err(|e| PixelError::Meta(Box::new(e)))?;
        object
            .write_dataset_with_ts(&mut head, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(|e| PixelError::Encode(Box::new(e)))?;
        let element = self.file.pixel_element().ok_or(PixelError::Pixels(ReadError::NoPixels))?;
        head.extend_from_slice(&element.tag.group().to_le_bytes());
        head.extend_from_slice(&element.tag.element().to_le_bytes());
        let integer = element.tag == t::PIXEL_DATA;
        let vr = if integer && self.form.bits_allocated > 8 { "OW" } else { element.vr };
        head.extend_from_slice(vr.as_bytes());
        head.extend_from_slice(&[0, 0]);
        head.extend_from_slice(&length.to_le_bytes());
        Ok(head)
    }

    /// Method and ratio of a lossy compression that ends here.
    fn lossy(&self) -> Result<Option<(&'static str, f64)>, PixelError> {
        let Some(method) = attributes::lossy_method(&self.file.header().transfer_syntax) else {
            return Ok(None);
        };
        let first = self.file.frame_bytes(0).map_err(|source| PixelError::Frame { frame: 0, source })?;
        let (FrameBytes::Native(stream) | FrameBytes::Encapsulated(stream)) = first;
        Ok(Some((method, self.form.frame_bytes as f64 / stream.len().max(1) as f64)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::region::Why;
    use super::*;

    #[test]
    fn frames_are_sampled_from_the_first_to_the_last() {
        assert_eq!(sample(1), [0]);
        assert_eq!(sample(3), [0, 1, 2]);
        assert_eq!(sample(120), [0, 17, 34, 51, 68, 85, 102, 119]);
        assert!(sample(0).is_empty());
    }

    #[test]
    fn an_object_that_admits_text_and_shows_none_is_doubtful() {
        let size = GridSize::new(10, 10);
        let found = Region::within(size, [0, 0, 1, 1], Why::Text);
        let cleaned = |regions, admits_text| Cleaned {
            regions,
            frames: 1,
            looked_at: vec![0],
            pixels: 0,
            size,
            admits_text,
        };
        assert!(cleaned(vec![], true).is_doubtful());
        assert!(!cleaned(vec![], false).is_doubtful());
        assert!(!cleaned(found.into_iter().collect(), true).is_doubtful());
    }

    #[test]
    fn pixels_of_two_regions_count_once() {
        let size = GridSize::new(10, 10);
        let region = |edges| Region::within(size, edges, Why::Text).unwrap();
        assert_eq!(covered(size, &[region([0, 0, 4, 4]), region([2, 2, 6, 6])]), 28);
    }
}
