//! A DICOM object: its header at once, its frames one by one.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use dicom_core::dictionary::{DataDictionary, VirtualVr};
use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_object::{InMemDicomObject, mem::InMemElement};
use dicom_transfer_syntax_registry::entries;
use overread_domain::{
    Channels, GridSize, Identified, ImageGrid, ModalityTransform, Photometric, PlaneGeometry, Samples,
};

use super::codec::host::{CodecHost, Expected};
use super::codec::stream::{JpegColour, StreamInfo, StreamKind, inspect, without_padding};
use super::codec::wire::{ChildCodec, Question};
use super::codec::{self, Decoded, jpeg, reduced};
use super::colour::{self, Palette};
use super::fragments::Fragments;
use super::meta::{self, Start};
use super::scan::{Encoding, PixelElement, scan};
use super::shape::{Colour, Shape};
use super::source::{Inflated, Source};
use super::syntax::{Codec, IMPLICIT, Syntax, is_jpeg_2000};
use super::transform::FrameView;
use super::{Header, Limits, ReadError, Resolution, Tolerance, native, rle};

/// A DICOM object whose header has been read; pixel data stay where they are until a frame is decoded.
pub struct DicomFile {
    pub(super) source: Arc<Source>,
    pub(super) syntax: Syntax,
    object: Identified<InMemDicomObject>,
    header: Header,
    pub(super) pixels: Option<PixelElement>,
    /// None if the object has no pixels or its Image Pixel module cannot be used.
    shape: Option<Shape>,
    fragments: OnceLock<Fragments>,
    limits: Limits,
}

/// Samples of a frame before they have a meaning.
pub(super) struct Raw {
    size: GridSize,
    pub(super) samples: Samples,
    /// Lowest bit that counts, and how many from there.
    pub(super) low_bit: u16,
    pub(super) stored: u16,
    /// Chroma that is still to be turned into RGB.
    pub(super) ybr: Option<Ybr>,
}

#[derive(Clone, Copy)]
pub(super) enum Ybr {
    Full,
    Partial,
}

impl DicomFile {
    pub(crate) fn open(source: Source, limits: &Limits) -> Result<Self, ReadError> {
        let source = Arc::new(source);
        let start = meta::start(&source)?.ok_or(ReadError::NotAnImage)?;
        let Start { data_set, syntax, sop_class, sop_instance, mut tolerances } = start;
        let (source, base) = if syntax.deflated {
            let inflated = Inflated::new(source, data_set, limits.file_bytes);
            (Arc::new(Source::Inflated(inflated)), 0)
        } else {
            (source, data_set)
        };
        let found = scan(&source, base, syntax.encoding, limits)?;
        let mut object = parse(&found.header, base, syntax.encoding)?;
        drop(found.header);
        if found.uneven {
            tolerances.push(Tolerance::UnevenLength);
        }
        unwrap_unknown(&mut object, limits);
        put_missing(&mut object, tags::SOP_CLASS_UID, sop_class);
        put_missing(&mut object, tags::SOP_INSTANCE_UID, sop_instance);
        if object.iter().next().is_none() && found.pixels.is_none() {
            return Err(ReadError::NotAnImage);
        }
        let shape = found.pixels.as_ref().and_then(|p| Shape::of(&object, p, &mut tolerances).ok());
        for tolerance in &tolerances {
            tracing::info!(%tolerance, "read against the standard");
        }
        let header = header(&object, &syntax, shape.as_ref(), tolerances);
        Ok(Self {
            source,
            syntax,
            object: Identified::new(object),
            header,
            pixels: found.pixels,
            shape,
            fragments: OnceLock::new(),
            limits: limits.clone(),
        })
    }

    /// What the object tells without telling who the patient is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The data set before the pixel data, for writers that file a result with the patient.
    pub fn dataset(&self) -> &Identified<InMemDicomObject> {
        &self.object
    }

    /// Where a frame lies in the patient; none where the object does not tell.
    pub fn geometry(&self, frame: u32) -> Option<PlaneGeometry> {
        FrameView::new(self.object.reveal(), frame).geometry()
    }

    /// Decodes one frame, counted from 0.
    ///
    /// # Errors
    /// [`ReadError`]: the frame is not there, is too large, is damaged, or is of a kind that is not read.
    pub fn decode(
        &self,
        frame: u32,
        resolution: Resolution,
        host: &mut CodecHost,
    ) -> Result<ImageGrid, ReadError> {
        let (pixels, shape) = self.checked_shape(frame)?;
        let raw = self.raw(pixels, &shape, frame, resolution, host)?;
        self.grid(raw, &shape, frame)
    }

    /// The pixels and their description, for a frame that is there and no larger than allowed.
    pub(super) fn checked_shape(&self, frame: u32) -> Result<(&PixelElement, Cow<'_, Shape>), ReadError> {
        let pixels = self.pixels.as_ref().ok_or(ReadError::NoPixels)?;
        let shape = match &self.shape {
            Some(shape) => Cow::Borrowed(shape),
            None => Cow::Owned(Shape::of(self.object.reveal(), pixels, &mut Vec::new())?),
        };
        if frame >= shape.frames {
            return Err(ReadError::NoSuchFrame { frame, frames: shape.frames });
        }
        self.check_size(shape.bytes())?;
        Ok((pixels, shape))
    }

    /// Samples of a frame before they have a meaning.
    pub(super) fn raw(
        &self,
        pixels: &PixelElement,
        shape: &Shape,
        frame: u32,
        resolution: Resolution,
        host: &mut CodecHost,
    ) -> Result<Raw, ReadError> {
        Ok(match self.syntax.codec {
            Codec::Native if pixels.length.is_some() => {
                let big = self.syntax.encoding.big;
                plain(native::read(&self.source, pixels, shape, big, frame)?, shape)
            }
            Codec::Native | Codec::DeflatedFrames => self.native_fragment(pixels, shape, frame)?,
            Codec::Rle => {
                let bytes = self.fragment(pixels, shape, frame)?;
                let samples = rle::decode(&bytes, shape).map_err(|why| self.wrong(frame, why))?;
                Raw { samples, ..plain(Samples::U8(Vec::new()), shape) }
            }
            Codec::Stream => self.stream(pixels, shape, frame, resolution, host)?,
            Codec::Unsupported => return Err(self.unsupported()),
        })
    }

    /// Where the pixels are and what they are; an Image Pixel module that cannot be used says why.
    pub(super) fn pixels_and_shape(&self) -> Result<(PixelElement, Shape), ReadError> {
        let pixels = self.pixels.ok_or(ReadError::NoPixels)?;
        let shape = match &self.shape {
            Some(shape) => shape.clone(),
            None => Shape::of(self.object.reveal(), &pixels, &mut Vec::new())?,
        };
        Ok((pixels, shape))
    }

    pub(super) fn unsupported(&self) -> ReadError {
        ReadError::TransferSyntax { uid: known_uid(&self.syntax.uid) }
    }

    fn check_size(&self, bytes: u64) -> Result<(), ReadError> {
        let limit = self.limits.frame_bytes;
        if bytes > limit {
            return Err(ReadError::TooLarge { what: "a decoded frame", bytes, limit, name: "frame_bytes" });
        }
        Ok(())
    }

    pub(super) fn wrong(&self, frame: u32, why: String) -> ReadError {
        ReadError::Decode { syntax: self.syntax.name, frame, why }
    }

    /// The fragments of encapsulated pixel data, found once.
    pub(super) fn fragments(&self, pixels: &PixelElement, shape: &Shape) -> Result<&Fragments, ReadError> {
        if pixels.length.is_some() {
            let why = "pixel data of a compressed transfer syntax must be encapsulated";
            return Err(ReadError::Malformed { tag: pixels.tag, offset: pixels.offset, why });
        }
        if let Some(fragments) = self.fragments.get() {
            return Ok(fragments);
        }
        let extended = extended_offsets(self.object.reveal());
        let found = Fragments::find(&self.source, pixels, shape.frames, extended)?;
        if !found.delimited {
            tracing::info!(tolerance = %Tolerance::MissingDelimiter, "read against the standard");
        }
        Ok(self.fragments.get_or_init(|| found))
    }

    /// The compressed bytes of a frame.
    pub(super) fn fragment(
        &self,
        pixels: &PixelElement,
        shape: &Shape,
        frame: u32,
    ) -> Result<Vec<u8>, ReadError> {
        let fragments = self.fragments(pixels, shape)?;
        // No codec here makes a frame larger than twice what it was.
        fragments.read(&self.source, frame, self.limits.frame_bytes.saturating_mul(2))
    }

    /// A frame that is encapsulated, but not compressed or deflated.
    fn native_fragment(&self, pixels: &PixelElement, shape: &Shape, frame: u32) -> Result<Raw, ReadError> {
        let mut bytes = self.fragment(pixels, shape, frame)?;
        if self.syntax.codec == Codec::DeflatedFrames {
            let mut out = Vec::new();
            let most = shape.bytes() + 1;
            let decoder = flate2::read::DeflateDecoder::new(&bytes[..]);
            let inflated = std::io::Read::read_to_end(&mut std::io::Read::take(decoder, most), &mut out);
            inflated.map_err(|e| self.wrong(frame, e.to_string()))?;
            bytes = out;
        }
        let element = PixelElement { offset: 0, length: Some(bytes.len() as u64), ..*pixels };
        let source = Source::Memory(bytes.into());
        Ok(plain(native::read(&source, &element, shape, false, 0)?, shape))
    }

    fn stream(
        &self,
        pixels: &PixelElement,
        shape: &Shape,
        frame: u32,
        resolution: Resolution,
        host: &mut CodecHost,
    ) -> Result<Raw, ReadError> {
        let bytes = self.fragment(pixels, shape, frame)?;
        let info = inspect(&bytes).map_err(|why| self.wrong(frame, why))?;
        if info.size != shape.size || info.components != shape.samples {
            let why = format!(
                "the stream holds {}×{} pixels of {} samples and the header says {}×{} of {}",
                info.size.columns,
                info.size.rows,
                info.components,
                shape.size.columns,
                shape.size.rows,
                shape.samples
            );
            return Err(self.wrong(frame, why));
        }
        self.check_size(
            info.size.pixels() * u64::from(info.components) * u64::from(info.precision.div_ceil(8)),
        )?;
        if !self.is_expected(info.kind) {
            tracing::info!(tolerance = %Tolerance::OtherCodestream, "read against the standard");
        }
        let reduce = match (info.kind, resolution) {
            (_, Resolution::AtLeast(_)) if shape.colour == Colour::Palette => 0,
            (StreamKind::Jpeg2000 { levels, .. }, Resolution::AtLeast(wanted)) => {
                codec::reduction(info.size, wanted, levels)
            }
            (StreamKind::Jpeg { .. }, Resolution::AtLeast(wanted)) if info.precision == 8 => {
                codec::reduction(info.size, wanted, 3)
            }
            _ => 0,
        };
        let (decoded, ybr) = self.run(&bytes, &info, shape, reduce, frame, host)?;
        Ok(meaning(decoded, &info, shape, ybr))
    }

    /// Runs the codec of a stream, in process or in the child.
    fn run(
        &self,
        bytes: &[u8],
        info: &StreamInfo,
        shape: &Shape,
        reduce: u32,
        frame: u32,
        host: &mut CodecHost,
    ) -> Result<(Decoded, Option<Ybr>), ReadError> {
        let syntax = self.syntax.name;
        let mut child = |codec, bytes: &[u8]| {
            let question = Question { codec, reduce: reduce as u8, bytes: bytes.len() as u64 };
            let (size, components) = (reduced(info.size, reduce), info.components);
            let expected = Expected { size, components, precision: info.precision };
            host.decode(question, bytes, &expected).map_err(|source| ReadError::Codec {
                syntax,
                frame,
                source,
            })
        };
        let by_header = ybr_of(shape.colour);
        match info.kind {
            StreamKind::Jpeg { colour } => {
                let ybr = match colour {
                    JpegColour::Rgb => false,
                    JpegColour::YCbCr => true,
                    JpegColour::Unsaid => shape.colour != Colour::Rgb,
                };
                match (info.precision, info.components) {
                    (8, 1) => Ok((child(ChildCodec::Jpeg8, bytes)?, None)),
                    (8, _) => Ok((child(ChildCodec::Jpeg8, &jpeg::with_colour(bytes, ybr))?, None)),
                    (_, 1) => Ok((child(ChildCodec::Jpeg12, bytes)?, None)),
                    _ => Err(ReadError::Unsupported { what: "12-bit JPEG in colour".to_owned() }),
                }
            }
            StreamKind::JpegLossless => {
                let decoded = jpeg::lossless(bytes, info).map_err(|why| self.wrong(frame, why))?;
                Ok((decoded, by_header))
            }
            StreamKind::JpegLs { interleaved } => {
                Ok((child(ChildCodec::JpegLs { interleaved }, bytes)?, by_header))
            }
            StreamKind::Jpeg2000 { .. } => {
                Ok((child(ChildCodec::Jpeg2000, without_padding(bytes))?, by_header))
            }
        }
    }

    fn is_expected(&self, kind: StreamKind) -> bool {
        match kind {
            StreamKind::Jpeg { .. } => {
                matches!(&*self.syntax.uid, uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT)
                    || self.syntax.uid.ends_with(".4.53")
                    || self.syntax.uid.ends_with(".4.55")
            }
            StreamKind::JpegLossless => {
                matches!(&*self.syntax.uid, uids::JPEG_LOSSLESS | uids::JPEG_LOSSLESS_SV1)
            }
            StreamKind::JpegLs { .. } => {
                matches!(&*self.syntax.uid, uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS)
            }
            StreamKind::Jpeg2000 { .. } => {
                self.syntax.uid.contains(".4.9") || self.syntax.uid.contains(".4.20")
            }
        }
    }

    /// Samples with their meaning, and all that goes with them.
    fn grid(&self, raw: Raw, shape: &Shape, frame: u32) -> Result<ImageGrid, ReadError> {
        let object = self.object.reveal();
        let view = FrameView::new(object, frame);
        let mut tolerances = Vec::new();
        let colour = shape.samples == 3;
        let mut samples = native::settle(raw.samples, raw.stored, raw.low_bit, shape.signed && !colour);
        let mut bits_stored = shape.stored;
        let (channels, photometric) = match shape.colour {
            Colour::Monochrome1 => (Channels::Grey, Photometric::Monochrome1),
            Colour::Monochrome2 => (Channels::Grey, Photometric::Monochrome2),
            Colour::Palette => {
                let palette = Palette::of(object)?;
                bits_stored = palette.bits();
                let deep = || ReadError::Unsupported { what: "a palette over more than 16 bits".to_owned() };
                samples = palette.apply(&samples).ok_or_else(deep)?;
                (Channels::Rgb, Photometric::Rgb)
            }
            _ => (Channels::Rgb, Photometric::Rgb),
        };
        match (raw.ybr, &mut samples) {
            (None, _) => {}
            (Some(Ybr::Full), Samples::U8(v)) => colour::ybr_full(v),
            (Some(Ybr::Partial), Samples::U8(v)) => colour::ybr_partial(v),
            (Some(_), _) => {
                return Err(ReadError::Unsupported { what: "YBR of more than 8 bits".to_owned() });
            }
        }
        let grey = channels == Channels::Grey;
        let modality =
            if grey { view.modality(shape.signed, &mut tolerances) } else { ModalityTransform::Identity };
        let voi = if grey { view.voi(&modality, shape.signed, &mut tolerances) } else { Vec::new() };
        for tolerance in tolerances {
            tracing::info!(%tolerance, "read against the standard");
        }
        Ok(ImageGrid {
            size: raw.size,
            full_size: shape.size,
            phase: if is_jpeg_2000(&self.header.transfer_syntax) {
                0.5 - 0.5 * f64::from(raw.size.columns) / f64::from(shape.size.columns.max(1))
            } else {
                0.0
            },
            channels,
            samples,
            photometric,
            bits_stored,
            modality,
            voi,
            padding: if grey { view.padding(shape.signed, shape.stored) } else { None },
            spacing: view.spacing(),
            geometry: view.geometry(),
        })
    }
}

/// Parses a data set whose lengths and depth the walk has checked.
fn parse(header: &[u8], base: u64, encoding: Encoding) -> Result<InMemDicomObject, ReadError> {
    let syntax = match encoding {
        Encoding { explicit: false, .. } => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
        Encoding { big: true, .. } => entries::EXPLICIT_VR_BIG_ENDIAN.erased(),
        Encoding { .. } => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
    };
    InMemDicomObject::read_dataset_with_ts(header, &syntax)
        .map_err(|source| ReadError::Dataset { offset: base, source: Box::new(source) })
}

/// Sequences that a sender wrote as UN, because it did not know them, become sequences again (PS3.5 §6.2.2).
fn unwrap_unknown(object: &mut InMemDicomObject, limits: &Limits) {
    const END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
    let known = |tag| StandardDataDictionary.by_tag(tag).is_some_and(|e| e.vr == VirtualVr::Exact(VR::SQ));
    let unknown: Vec<Tag> =
        object.iter().filter(|e| e.vr() == VR::UN && known(e.header().tag)).map(|e| e.header().tag).collect();
    for tag in unknown {
        let Some(Value::Primitive(PrimitiveValue::U8(value))) = object.get(tag).map(|e| e.value()) else {
            continue;
        };
        let value = value.strip_suffix(&END).unwrap_or(value);
        let mut bytes = Vec::with_capacity(value.len() + 8);
        bytes.extend_from_slice(&tag.0.to_le_bytes());
        bytes.extend_from_slice(&tag.1.to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(value);
        let source = Source::Memory(bytes.into());
        let parsed = scan(&source, 0, IMPLICIT, limits).and_then(|found| parse(&found.header, 0, IMPLICIT));
        match parsed.map(|mut o| o.take(tag)) {
            Ok(Some(element)) => drop(object.put(element)),
            _ => {
                tracing::info!(tolerance = %Tolerance::InvalidTransform, "a sequence of unknown VR was left as it is")
            }
        }
    }
}

fn put_missing(object: &mut InMemDicomObject, tag: Tag, uid: Option<String>) {
    if let Some(uid) = uid.filter(|_| object.get(tag).is_none()) {
        object.put(InMemElement::new(tag, VR::UI, PrimitiveValue::from(uid)));
    }
}

fn header(
    object: &InMemDicomObject,
    syntax: &Syntax,
    shape: Option<&Shape>,
    tolerances: Vec<Tolerance>,
) -> Header {
    let mut header = Header::of_object(object, tolerances);
    header.transfer_syntax = known_uid(&syntax.uid);
    header.photometric = String::new();
    header.frames = 0;
    if let Some(shape) = shape {
        (header.rows, header.columns, header.frames) = (shape.size.rows, shape.size.columns, shape.frames);
        (header.bits_allocated, header.bits_stored) = (shape.allocated, shape.stored);
        header.samples_per_pixel = shape.samples;
        header.photometric =
            super::values::text(object, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    }
    header
}

/// A transfer syntax as it may be printed: what is no UID came from who knows where.
fn known_uid(uid: &str) -> String {
    overread_domain::Uid::parse(uid).map_or_else(|_| "(not a UID)".to_owned(), String::from)
}

/// Extended Offset Table (7FE0,0001), 64 bits an entry.
fn extended_offsets(object: &InMemDicomObject) -> Option<Vec<u64>> {
    let element = object.get(tags::EXTENDED_OFFSET_TABLE)?;
    match element.value() {
        Value::Primitive(PrimitiveValue::U64(v)) => Some(v.to_vec()),
        Value::Primitive(PrimitiveValue::U8(v)) => {
            Some(v.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect())
        }
        _ => None,
    }
}

fn ybr_of(colour: Colour) -> Option<Ybr> {
    match colour {
        Colour::YbrFull | Colour::YbrFull422 => Some(Ybr::Full),
        Colour::YbrPartial422 | Colour::YbrPartial420 => Some(Ybr::Partial),
        _ => None,
    }
}

/// Samples of an uncompressed frame, interleaved and at full chroma.
fn plain(samples: Samples, shape: &Shape) -> Raw {
    let halved = matches!(shape.colour, Colour::YbrFull422 | Colour::YbrPartial422);
    let samples = match samples {
        Samples::U8(v) if halved && !v.is_empty() => {
            Samples::U8(native::expand_422(&v, shape.size.columns as usize))
        }
        Samples::U8(v) if shape.samples == 3 && shape.planar => Samples::U8(native::interleave(&v)),
        Samples::U16(v) if shape.samples == 3 && shape.planar => Samples::U16(native::interleave(&v)),
        Samples::U32(v) if shape.samples == 3 && shape.planar => Samples::U32(native::interleave(&v)),
        other => other,
    };
    let low_bit = (shape.high_bit + 1).saturating_sub(shape.stored);
    Raw { size: shape.size, samples, low_bit, stored: shape.stored, ybr: ybr_of(shape.colour) }
}

/// Which bits of a decoded stream count: the stream knows its depth, the header whether values have a sign.
fn meaning(decoded: Decoded, info: &StreamInfo, shape: &Shape, ybr: Option<Ybr>) -> Raw {
    let stream_signed = matches!(info.kind, StreamKind::Jpeg2000 { signed: true, .. });
    let container = match info.precision {
        0..=8 => 8,
        9..=16 => 16,
        _ => 32,
    };
    let stored = match (stream_signed, shape.signed) {
        (true, true) => container,
        (true, false) => shape.stored.min(container),
        (false, true) => info.precision,
        (false, false) => info.precision.max(shape.stored).min(container),
    };
    if stream_signed != shape.signed && info.kind != StreamKind::JpegLossless {
        tracing::debug!(tolerance = %Tolerance::OtherPixelRepresentation, "the header decides");
    }
    Raw { size: decoded.size, samples: decoded.samples, low_bit: 0, stored, ybr }
}
