//! What happens, told as it happens: a bus in the process and server-sent events for whoever watches.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::stream::{Stream, StreamExt};
use overread_domain::Millis;
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{Common, Problem};

/// Events that a slow watcher may be behind before it loses some.
const BACKLOG: usize = 1024;

/// Something that happened. Watchers may see pseudonyms and our own numbers here, never a patient.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// What kind, such as `study.complete`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// When, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub at: Millis,
    /// What that kind tells.
    pub data: serde_json::Value,
}

/// The bus. Clones share it.
#[derive(Clone)]
pub struct Events {
    sender: broadcast::Sender<Event>,
    closed: watch::Sender<bool>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), closed: watch::Sender::new(false) }
    }
}

impl Events {
    /// Tells all who watch. Nobody watching is fine.
    pub fn tell(&self, kind: &'static str, at: Millis, data: serde_json::Value) {
        // An error says only that nobody watches.
        let _ = self.sender.send(Event { kind, at, data });
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    /// Ends every stream to a client, so that a shutdown does not wait for watchers.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    fn stream(&self) -> impl Stream<Item = Result<SseEvent, Infallible>> + Send + use<> {
        let mut closed = self.closed.subscribe();
        let end = async move {
            // An error says that the bus itself is gone: the end as well.
            let _ = closed.wait_for(|closed| *closed).await;
        };
        BroadcastStream::new(self.watch()).map(|event| Ok(to_sse(event))).take_until(Box::pin(end))
    }
}

fn to_sse(event: Result<Event, BroadcastStreamRecvError>) -> SseEvent {
    match event {
        Ok(event) => match SseEvent::default().event(event.kind).json_data(&event) {
            Ok(sse) => sse,
            Err(_) => SseEvent::default().comment("an event could not be written"),
        },
        Err(BroadcastStreamRecvError::Lagged(missed)) => {
            SseEvent::default().event("lagged").data(format!("{{\"missed\":{missed}}}"))
        }
    }
}

/// The stream of events; needs the scope `read`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Common: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(events))
}

/// Events as they happen.
///
/// Server-sent events: `event` is the kind, `data` the JSON document. A client that is too slow gets an event `lagged` with the number it missed
/// and should read the lists again.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    responses((status = 200, description = "The stream; it does not end.", body = Event, content_type = "text/event-stream")))]
async fn events(
    State(common): State<Common>,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>> + Send>, Problem> {
    let alive = KeepAlive::new().interval(Duration::from_secs(15)).text("alive");
    Ok(Sse::new(common.events.stream()).keep_alive(alive))
}
