//! WADO-RS: studies, series and instances as DICOM files (PS3.18 §10.4, edition 2025c), as stored or in Explicit VR
//! Little Endian. One file, or one frame, is in memory at a time.

use axum::extract::State;
use axum::response::Response;
use dicom_core::VR;
use dicom_core::value::PrimitiveValue;
use dicom_dictionary_std::tags;
use dicom_object::FileMetaTableBuilder;
use dicom_object::mem::InMemElement;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use overread_dicom::read::{DicomFile, is_decodable};

use crate::Shared;
use crate::accept::{EXPLICIT, Range};
use crate::archive::InstanceEntry;
use crate::body::{Interrupted, Sink, boundary, closing, multipart, part_head, produce, typed};
use crate::decoders::blocking;
use crate::problem::Problem;
use crate::wado::{Client, Instance, Named};

const MEDIA: &str = "application/dicom";

/// How an instance is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    AsStored,
    Explicit,
}

/// `GET /studies/{study}`, `…/series/{series}`, `…/instances/{instance}`
pub(crate) async fn retrieve(
    State(shared): State<Shared>,
    named: Named,
    client: Client,
) -> Result<Response, Problem> {
    let entries = shared.instances(&named.scope).await?;
    let one = named.scope.instance.is_some();
    let (parts, forms) = client.accepts.iter().find_map(|r| choose(r, &entries, one)).ok_or_else(|| {
        Problem::not_acceptable(
            "instances are sent as application/dicom, in the transfer syntax that they are stored in or in 1.2.840.10008.1.2.1",
        )
    })?;
    // The first is prepared before the answer begins, so that what is wrong with it is told by a status.
    let first = prepare(&shared, &entries[0], forms[0]).await?;
    let idle = shared.archive.limits().idle;
    if !parts {
        let syntax = if forms[0] == Form::AsStored { entries[0].transfer_syntax.as_str() } else { EXPLICIT };
        let kind = format!("{MEDIA}; transfer-syntax={syntax}");
        return Ok(typed(&kind, produce(idle, |sink| async move { first.send(&shared, &sink).await })));
    }
    let mark = boundary();
    let heads: Vec<String> = entries
        .iter()
        .zip(&forms)
        .enumerate()
        .map(|(i, (entry, form))| {
            let syntax = if *form == Form::AsStored { entry.transfer_syntax.as_str() } else { EXPLICIT };
            let kind = format!("{MEDIA}; transfer-syntax={syntax}");
            part_head(&mark, i == 0, &kind, Some(&client.url(&entry.scope())))
        })
        .collect();
    let end = closing(&mark);
    let body = produce(idle, |sink| async move {
        let mut first = Some(first);
        for ((entry, form), head) in entries.iter().zip(forms).zip(heads) {
            let prepared = match first.take() {
                Some(first) => first,
                None => prepare(&shared, entry, form).await?,
            };
            sink.send(head).await?;
            prepared.send(&shared, &sink).await?;
        }
        Ok(sink.send(end).await?)
    });
    Ok(multipart(&mark, MEDIA, body))
}

/// Whether a media range is answered in parts, and how each instance is sent; none if one of them cannot be.
fn choose(range: &Range, entries: &[InstanceEntry], one: bool) -> Option<(bool, Vec<Form>)> {
    let parts = range.multipart || range.anything();
    if !range.covers(MEDIA) || (!parts && !one) {
        return None;
    }
    let form = |entry: &InstanceEntry| {
        let stored = entry.transfer_syntax.as_str();
        match range.syntax.as_deref() {
            Some("*") => Some(Form::AsStored),
            Some(wanted) if wanted == stored => Some(Form::AsStored),
            None if stored == EXPLICIT => Some(Form::AsStored),
            Some(EXPLICIT) | None if is_decodable(stored) => Some(Form::Explicit),
            // Who takes anything takes what cannot be decoded as it is.
            None if range.anything() => Some(Form::AsStored),
            _ => None,
        }
    };
    Some((parts, entries.iter().map(form).collect::<Option<_>>()?))
}

/// An instance that is ready to be sent.
enum Prepared {
    Stored(crate::archive::OpenedFile),
    Explicit { instance: Instance, head: Vec<u8>, frames: u32, odd: bool },
}

async fn prepare(shared: &Shared, entry: &InstanceEntry, form: Form) -> Result<Prepared, Problem> {
    if form == Form::AsStored {
        return Ok(Prepared::Stored(shared.archive.open(entry).await?));
    }
    let instance = shared.open(entry).await?;
    blocking(move || {
        let (head, frames, odd) = head(&instance.object)?;
        Ok(Prepared::Explicit { instance, head, frames, odd })
    })
    .await?
}

impl Prepared {
    async fn send(self, shared: &Shared, sink: &Sink) -> Result<(), Interrupted> {
        match self {
            Self::Stored(file) => sink.file(&file.path).await,
            Self::Explicit { instance, head, frames, odd } => {
                sink.send(head).await?;
                for frame in 0..frames {
                    let object = instance.object.clone();
                    let bytes = shared.decoders.run(move |host| object.native_frame(frame, host)).await?;
                    sink.send(bytes.map_err(|e| Problem::read(&e))?).await?;
                }
                if odd {
                    sink.send(vec![0u8]).await?;
                }
                Ok(())
            }
        }
    }
}

/// A file in Explicit VR Little Endian up to the first pixel, how many frames follow, and whether a byte pads them.
fn head(object: &DicomFile) -> Result<(Vec<u8>, u32, bool), Problem> {
    let header = object.header();
    let mut data = object.dataset().reveal().clone();
    let mut pixels = None;
    if let Some(element) = object.pixel_element() {
        let form = object.native_form().map_err(|e| Problem::read(&e))?;
        let frames = header.frames;
        let length = u32::try_from(form.frame_bytes.saturating_mul(u64::from(frames)).next_multiple_of(2));
        let length = length.ok().filter(|_| !(form.ragged && frames > 1)).ok_or_else(|| {
            Problem::not_acceptable("the pixels do not fit one element of Explicit VR Little Endian; accept the stored transfer syntax")
        })?;
        data.remove_element(tags::EXTENDED_OFFSET_TABLE);
        data.remove_element(tags::EXTENDED_OFFSET_TABLE_LENGTHS);
        let mut put = |tag, vr, value| data.put(InMemElement::new(tag, vr, value));
        if let Some(photometric) = form.photometric {
            put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, PrimitiveValue::from(photometric));
            put(tags::PLANAR_CONFIGURATION, VR::US, PrimitiveValue::from(0u16));
        }
        if let Some(high_bit) = form.high_bit {
            put(tags::HIGH_BIT, VR::US, PrimitiveValue::from(high_bit));
        }
        let vr = match element.vr {
            "OB" if form.bits_allocated > 8 => "OW",
            vr => vr,
        };
        let odd = form.frame_bytes.saturating_mul(u64::from(frames)) % 2 == 1;
        pixels = Some((element.tag, vr, length, frames, odd));
    }
    let mut out = vec![0u8; 128];
    out.extend_from_slice(b"DICM");
    let uid =
        |uid: &Option<overread_domain::Uid>| uid.as_ref().map(|u| u.as_str().to_owned()).unwrap_or_default();
    let unwritable =
        |e: &(dyn std::error::Error + 'static)| Problem::internal("a header could not be written", e);
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(EXPLICIT)
        .media_storage_sop_class_uid(uid(&header.sop_class_uid))
        .media_storage_sop_instance_uid(uid(&header.sop_instance_uid))
        .build()
        .map_err(|e| unwritable(&e))?;
    meta.write(&mut out).map_err(|e| unwritable(&e))?;
    let syntax = EXPLICIT_VR_LITTLE_ENDIAN.erased();
    data.write_dataset_with_ts(&mut out, &syntax).map_err(|e| unwritable(&e))?;
    let Some((tag, vr, length, frames, odd)) = pixels else { return Ok((out, 0, false)) };
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
    out.extend_from_slice(vr.as_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&length.to_le_bytes());
    Ok((out, frames, odd))
}
