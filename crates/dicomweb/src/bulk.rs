//! WADO-RS: the large values that metadata give by reference (PS3.18 §10.4.1.5, edition 2025c).

use axum::extract::State;
use axum::response::Response;
use overread_domain::Uid;

use crate::accept::EXPLICIT;
use crate::archive::InstanceEntry;
use crate::body::{boundary, closing, multipart, part_head, typed};
use crate::frames::{self, OCTETS};
use crate::problem::Problem;
use crate::wado::{Client, Instance, Named};
use crate::{Shared, json};

/// `GET …/bulkdata/{path}`: a path that metadata gave.
pub(crate) async fn retrieve(
    State(shared): State<Shared>,
    named: Named,
    client: Client,
) -> Result<Response, Problem> {
    let path = named.words.get("path").map(String::as_str).unwrap_or_default();
    let entry = shared.instance(&named.scope).await?;
    let instance = shared.open(&entry).await?;
    let pixels = instance.object.pixel_element();
    if pixels.is_some_and(|p| json::key(p.tag) == path) {
        return pixel_data(shared, entry, instance, &client).await;
    }
    let range = client.accepts.iter().find(|r| r.covers(OCTETS)).ok_or_else(|| {
        Problem::not_acceptable("bulk data are sent as application/octet-stream, in parts or alone")
    })?;
    let element = json::at_path(instance.object.dataset().reveal(), path);
    let value = element.filter(|e| json::is_binary(e.vr())).and_then(|e| e.to_bytes().ok());
    let value = value.ok_or_else(|| Problem::not_found("the instance has no such bulk data"))?.into_owned();
    if !(range.multipart || range.anything()) {
        return Ok(typed(OCTETS, value));
    }
    let mark = boundary();
    let mut body = part_head(&mark, true, OCTETS, None).into_bytes();
    body.extend_from_slice(&value);
    body.extend_from_slice(closing(&mark).as_bytes());
    Ok(multipart(&mark, OCTETS, body.into()))
}

/// All frames: a part for each where they are encapsulated (§8.7.3.3), one value else.
async fn pixel_data(
    shared: Shared,
    entry: InstanceEntry,
    instance: Instance,
    client: &Client,
) -> Result<Response, Problem> {
    let count = instance.object.header().frames;
    let encapsulated = instance.object.pixel_element().is_some_and(|p| p.encapsulated);
    if encapsulated || count == 1 {
        let one = count == 1;
        let answer =
            client.accepts.iter().find_map(|r| frames::choose(r, &entry, one)).ok_or_else(frames::refused)?;
        frames::check(&instance, &[0])?;
        return frames::send(shared, instance, (0..count).collect(), answer, None).await;
    }
    frames::check(&instance, &[0])?;
    let plain = InstanceEntry { transfer_syntax: explicit(&entry), ..entry };
    // One value, of which frames are cut: it is told as one part, or alone.
    let answer =
        client.accepts.iter().find_map(|r| frames::choose(r, &plain, true)).ok_or_else(frames::refused)?;
    if instance.object.native_form().map_err(|e| Problem::read(&e))?.ragged {
        return Err(Problem::not_acceptable(
            "frames of single bits that do not fill bytes are sent one by one; ask for frames",
        ));
    }
    whole(shared, instance, count, answer.parts)
}

fn explicit(entry: &InstanceEntry) -> Uid {
    Uid::parse(EXPLICIT).unwrap_or_else(|_| entry.transfer_syntax.clone())
}

fn whole(shared: Shared, instance: Instance, count: u32, parts: bool) -> Result<Response, Problem> {
    let mark = boundary();
    let kind = format!("{OCTETS}; transfer-syntax={EXPLICIT}");
    let (head, end) = (part_head(&mark, true, &kind, None), closing(&mark));
    let body = crate::body::produce(shared.archive.limits().idle, |sink| async move {
        if parts {
            sink.send(head).await?;
        }
        for frame in 0..count {
            let object = instance.object.clone();
            let bytes = shared.decoders.run(move |host| object.native_frame(frame, host)).await?;
            sink.send(bytes.map_err(|e| Problem::read(&e))?).await?;
        }
        if parts {
            sink.send(end).await?;
        }
        Ok(())
    });
    Ok(if parts { multipart(&mark, OCTETS, body) } else { typed(&kind, body) })
}
