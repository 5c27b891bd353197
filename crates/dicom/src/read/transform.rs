//! What turns stored values into what a person sees, and where the frame lies: modality and VOI
//! transforms, padding, spacing and geometry, from the object or the frame's functional groups.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use overread_domain::{
    LookupTable, ModalityTransform, PixelSpacing, PlaneGeometry, Uid, VoiTransform, WindowFunction,
};

use super::{Tolerance, values};

/// The data set of one frame: its own functional groups, the shared ones, then the object itself.
pub(crate) struct FrameView<'a> {
    object: &'a InMemDicomObject,
    own: Option<&'a InMemDicomObject>,
    shared: Option<&'a InMemDicomObject>,
}

impl<'a> FrameView<'a> {
    pub(crate) fn new(object: &'a InMemDicomObject, frame: u32) -> Self {
        let own = values::items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(frame as usize);
        let shared = values::item(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
        Self { object, own, shared }
    }

    /// The item of a functional group, else the object itself.
    fn group(&self, tag: Tag) -> &'a InMemDicomObject {
        let of = |groups: Option<&'a InMemDicomObject>| groups.and_then(|g| values::item(g, tag));
        of(self.own).or_else(|| of(self.shared)).unwrap_or(self.object)
    }

    /// Modality LUT (PS3.3 §C.11.1), the table first.
    pub(crate) fn modality(&self, signed: bool, tolerances: &mut Vec<Tolerance>) -> ModalityTransform {
        if let Some(item) = values::item(self.object, tags::MODALITY_LUT_SEQUENCE) {
            match table(item, signed) {
                Some(table) => return ModalityTransform::Table(table),
                None => tolerances.push(Tolerance::InvalidTransform),
            }
        }
        let group = self.group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        let slope = values::number(group, tags::RESCALE_SLOPE);
        let intercept = values::number(group, tags::RESCALE_INTERCEPT);
        match (slope, intercept) {
            (None, None) => ModalityTransform::Identity,
            (slope, intercept) => {
                let (slope, intercept) = (slope.unwrap_or(1.0), intercept.unwrap_or(0.0));
                if slope == 1.0 && intercept == 0.0 {
                    ModalityTransform::Identity
                } else {
                    ModalityTransform::Linear { slope, intercept }
                }
            }
        }
    }

    /// VOI transforms (PS3.3 §C.11.2) in the file's order, tables before windows.
    pub(crate) fn voi(
        &self,
        modality: &ModalityTransform,
        signed: bool,
        tolerances: &mut Vec<Tolerance>,
    ) -> Vec<VoiTransform> {
        // A modality table has unsigned outputs, and a rescale may make an unsigned image signed.
        let signed = match modality {
            ModalityTransform::Identity => signed,
            ModalityTransform::Linear { intercept, .. } => signed || *intercept < 0.0,
            ModalityTransform::Table(_) => false,
        };
        let group = self.group(tags::FRAME_VOILUT_SEQUENCE);
        let mut out = Vec::new();
        for item in values::items(group, tags::VOILUT_SEQUENCE) {
            match table(item, signed) {
                Some(table) => out.push(VoiTransform::Table(table)),
                None => tolerances.push(Tolerance::InvalidTransform),
            }
        }
        let centers = values::numbers(group, tags::WINDOW_CENTER).unwrap_or_default();
        let widths = values::numbers(group, tags::WINDOW_WIDTH).unwrap_or_default();
        let function = match values::text(group, tags::VOILUT_FUNCTION).as_deref() {
            Some("SIGMOID") => WindowFunction::Sigmoid,
            Some("LINEAR_EXACT") => WindowFunction::LinearExact,
            _ => WindowFunction::Linear,
        };
        for (center, width) in centers.iter().copied().zip(widths.iter().copied()) {
            let least = if function == WindowFunction::Linear { width >= 1.0 } else { width > 0.0 };
            if least && center.is_finite() && width.is_finite() {
                out.push(VoiTransform::Window { center, width, function });
            } else {
                tolerances.push(Tolerance::InvalidTransform);
            }
        }
        out
    }

    /// Pixel Padding Value and Range Limit (PS3.3 §C.7.5.1.1.2), as stored values.
    pub(crate) fn padding(&self, signed: bool, stored: u16) -> Option<(f64, f64)> {
        let value = |tag| {
            let v = values::number(self.object, tag)?;
            // Senders write the value as US whatever the pixels are.
            let half = 2f64.powi(i32::from(stored) - 1);
            Some(if signed && v >= half { v - 2.0 * half } else { v })
        };
        let first = value(tags::PIXEL_PADDING_VALUE)?;
        let last = value(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(first);
        Some((first.min(last), first.max(last)))
    }

    /// Pixel Spacing, else Imager Pixel Spacing, else Nominal Scanned Pixel Spacing.
    pub(crate) fn spacing(&self) -> Option<PixelSpacing> {
        let measures = self.group(tags::PIXEL_MEASURES_SEQUENCE);
        let pair = |object, tag| match values::numbers(object, tag)?[..] {
            [row_mm, column_mm]
                if row_mm > 0.0 && column_mm > 0.0 && row_mm.is_finite() && column_mm.is_finite() =>
            {
                Some(PixelSpacing { row_mm, column_mm })
            }
            _ => None,
        };
        pair(measures, tags::PIXEL_SPACING)
            .or_else(|| pair(self.object, tags::IMAGER_PIXEL_SPACING))
            .or_else(|| pair(self.object, tags::NOMINAL_SCANNED_PIXEL_SPACING))
    }

    /// Image Plane (PS3.3 §C.7.6.2).
    pub(crate) fn geometry(&self) -> Option<PlaneGeometry> {
        let position =
            values::numbers(self.group(tags::PLANE_POSITION_SEQUENCE), tags::IMAGE_POSITION_PATIENT)?;
        let orientation =
            values::numbers(self.group(tags::PLANE_ORIENTATION_SEQUENCE), tags::IMAGE_ORIENTATION_PATIENT)?;
        let finite = position.iter().chain(&orientation).all(|v| v.is_finite());
        let uid = values::text(self.object, tags::FRAME_OF_REFERENCE_UID);
        Some(PlaneGeometry {
            position: position.try_into().ok().filter(|_| finite)?,
            orientation: orientation.try_into().ok()?,
            frame_of_reference: uid.and_then(|t| Uid::parse(&t).ok()),
        })
    }
}

/// LUT Descriptor and LUT Data of a Modality or VOI LUT item (PS3.3 §C.11.1.1).
fn table(item: &InMemDicomObject, signed: bool) -> Option<LookupTable> {
    let descriptor = values::words(item, tags::LUT_DESCRIPTOR)?;
    let [entries, first, bits] = descriptor[..] else { return None };
    let entries = if entries == 0 { 65_536 } else { usize::from(entries) };
    let first = if signed { i64::from(first as i16) } else { i64::from(first) };
    let mut data = values::words(item, tags::LUT_DATA)?;
    if data.len() < entries && data.len() * 2 >= entries && bits <= 8 {
        // 8-bit entries, two to a word.
        data = data.iter().flat_map(|w| w.to_le_bytes()).map(u16::from).collect();
    }
    data.truncate(entries);
    let bits = if (1..=16).contains(&bits) { bits } else { 16 };
    (!data.is_empty()).then_some(LookupTable { first, bits, entries: data })
}
