//! WADO-RS: frames as they are stored or decoded to little endian (PS3.18 §10.4.1.6 and §8.7.3, edition 2025c).

use axum::extract::State;
use axum::response::Response;
use overread_dicom::read::{FrameBytes, ReadError, is_decodable};

use crate::Shared;
use crate::accept::{EXPLICIT, IMPLICIT, Range};
use crate::archive::InstanceEntry;
use crate::body::{boundary, closing, multipart, part_head, produce, typed};
use crate::decoders::blocking;
use crate::problem::Problem;
use crate::wado::{Client, Instance, Named};

pub(crate) const OCTETS: &str = "application/octet-stream";
/// Frames of one request.
const MOST_FRAMES: usize = 100_000;

/// `GET …/frames/{frames}`
pub(crate) async fn retrieve(
    State(shared): State<Shared>,
    named: Named,
    client: Client,
) -> Result<Response, Problem> {
    let list = named.words.get("frames").map(String::as_str).unwrap_or_default();
    let frames = frame_list(list)?;
    let entry = shared.instance(&named.scope).await?;
    let answer =
        client.accepts.iter().find_map(|r| choose(r, &entry, frames.len() == 1)).ok_or_else(refused)?;
    let instance = shared.open(&entry).await?;
    check(&instance, &frames)?;
    send(shared, instance, frames, answer, None).await
}

pub(crate) fn refused() -> Problem {
    Problem::not_acceptable(
        "frames are sent as they are stored (transfer-syntax=*) or as application/octet-stream in 1.2.840.10008.1.2.1",
    )
}

/// Frame numbers of a URL, counted from 1, as frames counted from 0.
pub(crate) fn frame_list(text: &str) -> Result<Vec<u32>, Problem> {
    let wrong = || Problem::bad("frames are numbers from 1 on, parted by commas");
    let number = |t: &str| t.trim().parse::<u32>().ok()?.checked_sub(1);
    let frames: Option<Vec<u32>> = text.split(',').take(MOST_FRAMES + 1).map(number).collect();
    frames.filter(|f| f.len() <= MOST_FRAMES).ok_or_else(wrong)
}

/// Whether the frames are there.
pub(crate) fn check(instance: &Instance, frames: &[u32]) -> Result<(), Problem> {
    let there = instance.object.header().frames;
    if instance.object.pixel_element().is_none() {
        return Err(Problem::read(&ReadError::NoPixels));
    }
    match frames.iter().find(|f| **f >= there) {
        None => Ok(()),
        Some(frame) => {
            Err(Problem::not_found(format!("there is no frame {}: the instance has {there}", frame + 1)))
        }
    }
}

/// How frames are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Each as a part of a body.
    pub(crate) parts: bool,
    /// As the codec wrote them; decoded else.
    pub(crate) stored: bool,
    /// Media type of a part.
    pub(crate) media: String,
    /// Transfer syntax that its bytes are in.
    syntax: String,
}

/// The answer to a media range; none if it cannot be met.
pub(crate) fn choose(range: &Range, entry: &InstanceEntry, one: bool) -> Option<Answer> {
    let parts = range.multipart || range.anything();
    if !parts && !one {
        return None;
    }
    let stored = entry.transfer_syntax.as_str();
    let own = media_type(stored);
    let answer = |stored: bool, media: &str, syntax: &str| {
        Some(Answer { parts, stored, media: media.to_owned(), syntax: syntax.to_owned() })
    };
    let wanted = range.syntax.as_deref();
    if range.covers(OCTETS) {
        match wanted {
            Some("*") if own == OCTETS => return answer(false, OCTETS, EXPLICIT),
            Some("*") => return answer(true, OCTETS, stored),
            Some(EXPLICIT | IMPLICIT) | None if is_decodable(stored) => {
                return answer(false, OCTETS, EXPLICIT);
            }
            Some(uid) if uid == stored && own != OCTETS => return answer(true, OCTETS, stored),
            // Who takes anything takes what cannot be decoded as it is.
            None if range.anything() => return answer(true, own, stored),
            _ => {}
        }
    }
    let fits = own != OCTETS && range.covers(own);
    (fits && wanted.is_none_or(|w| w == "*" || w == stored)).then(|| answer(true, own, stored))?
}

/// The media type of a frame in a transfer syntax (PS3.18 tables 8.7.3-2 to 8.7.3-5); octets for uncompressed ones.
fn media_type(syntax: &str) -> &'static str {
    match syntax.strip_prefix("1.2.840.10008.1.2.").unwrap_or_default() {
        "4.50" | "4.51" | "4.53" | "4.55" | "4.57" | "4.70" => "image/jpeg",
        "4.80" | "4.81" => "image/jls",
        "4.90" | "4.91" => "image/jp2",
        "4.92" | "4.93" => "image/jpx",
        "4.201" | "4.202" | "4.203" => "image/jphc",
        "4.110" | "4.111" | "4.112" => "image/jxl",
        "4.100" | "4.100.1" | "4.101" | "4.101.1" => "video/mpeg",
        "4.102" | "4.103" | "4.104" | "4.105" | "4.106" | "4.107" | "4.108" => "video/mp4",
        "5" => "image/dicom-rle",
        _ => OCTETS,
    }
}

/// One frame's bytes.
async fn bytes(shared: &Shared, instance: &Instance, frame: u32, stored: bool) -> Result<Vec<u8>, Problem> {
    let object = instance.object.clone();
    if stored {
        let bytes = blocking(move || object.frame_bytes(frame)).await?.map_err(|e| Problem::read(&e))?;
        return Ok(match bytes {
            FrameBytes::Encapsulated(bytes) | FrameBytes::Native(bytes) => bytes,
        });
    }
    let native = shared.decoders.run(move |host| object.native_frame(frame, host)).await?;
    native.map_err(|e| Problem::read(&e))
}

/// Sends frames; the first is read before the answer begins, so that what is wrong with it is told by a status.
pub(crate) async fn send(
    shared: Shared,
    instance: Instance,
    frames: Vec<u32>,
    answer: Answer,
    location: Option<String>,
) -> Result<Response, Problem> {
    let kind = format!("{}; transfer-syntax={}", answer.media, answer.syntax);
    let head = bytes(&shared, &instance, frames[0], answer.stored).await?;
    if !answer.parts {
        return Ok(typed(&kind, head));
    }
    let mark = boundary();
    let (end, media) = (closing(&mark), answer.media.clone());
    let heads = [true, false].map(|first| part_head(&mark, first, &kind, location.as_deref()));
    let body = produce(shared.archive.limits().idle, |sink| async move {
        let [first, other] = heads;
        sink.send(first).await?;
        sink.send(head).await?;
        for frame in frames.into_iter().skip(1) {
            let next = bytes(&shared, &instance, frame, answer.stored).await?;
            sink.send(other.clone()).await?;
            sink.send(next).await?;
        }
        Ok(sink.send(end).await?)
    });
    Ok(multipart(&mark, &media, body))
}
