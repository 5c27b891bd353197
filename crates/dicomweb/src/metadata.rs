//! WADO-RS: metadata as DICOM JSON (PS3.18 §10.4.1.3, edition 2025c), one instance in memory at a time.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value as Json, json};

use crate::accept::must_take_json;
use crate::archive::InstanceEntry;
use crate::body::{produce, typed};
use crate::decoders::blocking;
use crate::problem::Problem;
use crate::wado::{Client, Named};
use crate::{Shared, json};

/// `GET …/metadata`
pub(crate) async fn retrieve(
    State(shared): State<Shared>,
    named: Named,
    client: Client,
) -> Result<Response, Problem> {
    must_take_json(&client.accepts)?;
    let entries = shared.instances(&named.scope).await?;
    let first = describe(&shared, &entries[0], &client).await?;
    let body = produce(shared.archive.limits().idle, |sink| async move {
        sink.send("[").await?;
        sink.send(first).await?;
        for entry in entries.iter().skip(1) {
            let mut next = describe(&shared, entry, &client).await?;
            next.insert(0, b',');
            sink.send(next).await?;
        }
        Ok(sink.send("]").await?)
    });
    Ok(typed("application/dicom+json", body))
}

/// The metadata of one instance.
async fn describe(shared: &Shared, entry: &InstanceEntry, client: &Client) -> Result<Vec<u8>, Problem> {
    let instance = shared.open(entry).await?;
    let bulk = format!("{}/bulkdata/", client.url(&entry.scope()));
    let syntax = entry.transfer_syntax.clone();
    blocking(move || {
        let mut document = json::data_set(instance.object.dataset().reveal(), Some(&bulk));
        if let Some(pixels) = instance.object.pixel_element() {
            let key = json::key(pixels.tag);
            let uri = format!("{bulk}{key}");
            document.insert(key, json!({ "vr": pixels.vr, "BulkDataURI": uri }));
        }
        // Available Transfer Syntax UID (0008,3002): viewers choose their decoder by it.
        document.insert("00083002".to_owned(), json!({ "vr": "UI", "Value": [syntax.as_str()] }));
        serde_json::to_vec(&Json::Object(document))
            .map_err(|e| Problem::internal("metadata could not be written", &e))
    })
    .await?
}
