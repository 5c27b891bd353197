//! Objects that come in pieces, compressed, twice, or from somebody who means no good.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use futures::{StreamExt, stream};
use overread_domain::ContentHash;
use overread_wire::paths;
use reqwest::{Body, Method, Response};
use support::edges::{Edge, bench};
use support::{Bench, files, hash, packs, program};

/// Bytes that compress, and of which no two places are alike.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n / 5 + n * n / 70_000) % 251).unwrap()).collect()
}

struct Put<'a> {
    edge: &'a Edge,
    whole: &'a [u8],
    length: usize,
}

impl<'a> Put<'a> {
    fn of(edge: &'a Edge, whole: &'a [u8]) -> Self {
        Self { edge, whole, length: whole.len() }
    }

    fn request(&self, offset: usize) -> reqwest::RequestBuilder {
        let request = self.edge.request(Method::PUT, &paths::object(&hash(self.whole)));
        request.header(paths::UPLOAD_OFFSET, offset).header(paths::UPLOAD_LENGTH, self.length)
    }

    async fn plain(&self, from: usize, to: usize) -> Response {
        self.request(from).body(self.whole[from..to].to_vec()).send().await.unwrap()
    }

    /// Frames of 64 KiB from a byte on, the last `cut` bytes of them missing.
    async fn zstd(&self, from: usize, cut: usize) -> Response {
        let frames = self.whole[from..].chunks(64 << 10).map(|piece| zstd::bulk::compress(piece, 3).unwrap());
        let mut bytes = frames.collect::<Vec<_>>().concat();
        bytes.truncate(bytes.len() - cut);
        self.request(from).header("content-encoding", "zstd").body(bytes).send().await.unwrap()
    }

    /// Sends half of what is left and breaks the connection.
    async fn broken(&self, from: usize) {
        let half = from + (self.whole.len() - from) / 2;
        let sent = stream::iter([Ok(self.whole[from..half].to_vec())]);
        // What is still on its way when a connection breaks is lost; this much shall arrive.
        let cut = stream::once(async {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            Err(std::io::Error::other("the line is cut"))
        });
        let body = Body::wrap_stream(sent.chain(cut));
        assert!(self.request(from).body(body).send().await.is_err());
    }

    async fn offset(&self) -> usize {
        self.edge.offset(&hash(self.whole)).await.parse().unwrap()
    }
}

fn unfinished(bench: &Bench) -> usize {
    files(&bench.folder.path().join("staging")).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_broke_off() {
    let (bench, door) = bench().await;
    let edge = bench.enrolled(&door, "clinic").await;
    let whole = text(1 << 20);
    let put = Put::of(&edge, &whole);
    assert_eq!(put.offset().await, 0);
    put.broken(0).await;
    support::until(|| async { put.offset().await == whole.len() / 2 }, || "the first half".into()).await;
    // A place that is not the end of what is here is refused, and the right one is told.
    let refused = put.plain(7, whole.len()).await;
    assert_eq!((refused.status().as_u16(), put.offset().await), (409, whole.len() / 2));
    assert_eq!(refused.headers()[paths::UPLOAD_OFFSET], (whole.len() / 2).to_string().as_str());
    // Compressed and cut in the middle of a frame: what can be decoded counts.
    assert_eq!(put.zstd(whole.len() / 2, 30).await.status(), 409);
    let here = put.offset().await;
    assert!(here > whole.len() / 2 && here < whole.len(), "{here}");
    assert_eq!(put.zstd(here, 0).await.status(), 201);
    assert_eq!(put.offset().await, whole.len());
    assert_eq!(
        (unfinished(&bench), edge.missing(&[hash(&whole)]).await.text().await.unwrap()),
        (0, "[]".into())
    );
    // Sent again it changes nothing.
    assert_eq!(put.plain(0, whole.len()).await.status(), 200);
    let stored = files(&bench.folder.path().join("objects"));
    assert_eq!((stored.len(), std::fs::read(&stored[0]).unwrap() == whole), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_upload_survives_the_service() {
    let (bench, door) = bench().await;
    let edge = bench.enrolled(&door, "clinic").await;
    let whole = text(300_000);
    let put = Put::of(&edge, &whole);
    assert_eq!(put.plain(0, 200_000).await.status(), 409);
    let again =
        overread_service::Service::open(&bench.config, &packs(), overread_domain::Clock::machine()).await;
    drop(again.unwrap());
    assert_eq!(put.offset().await, 200_000);
    // Bytes that turned while they lay there are found out, and all is asked for again.
    let partial = files(&bench.folder.path().join("staging")).remove(0);
    let mut damaged = std::fs::read(&partial).unwrap();
    damaged[100] ^= 1;
    std::fs::write(&partial, damaged).unwrap();
    assert_eq!(put.plain(200_000, 300_000).await.status(), 409);
    assert_eq!((put.offset().await, unfinished(&bench)), (0, 0));
    assert_eq!(put.plain(0, 300_000).await.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_goes_on_and_who_was_there_ends() {
    let (bench, door) = bench().await;
    let edge = bench.enrolled(&door, "clinic").await;
    let whole = text(500_000);
    let put = Put::of(&edge, &whole);
    // The first one's line is dead and nobody has noticed: it never ends by itself.
    let pieces = stream::once(async { Ok::<_, std::io::Error>(text(500_000)[..100_000].to_vec()) });
    let body = Body::wrap_stream(futures::StreamExt::chain(pieces, stream::pending()));
    let hanging = tokio::spawn(put.request(0).body(body).send());
    support::until(|| async { unfinished(&bench) == 1 }, || "the first one".into()).await;
    let here = put.offset().await;
    let answer = put.plain(here, whole.len()).await;
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    let ended = hanging.await.unwrap();
    assert!(ended.is_err() || ended.unwrap().status() == 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_stops_at_what_was_announced() {
    let (bench, door) = bench().await;
    let edge = bench.enrolled(&door, "clinic").await;
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    assert!(bomb.len() < 10_000);
    let send = |length: &str, encoding: &str| {
        let request =
            edge.request(Method::PUT, &paths::object(&hash(b"bomb"))).header(paths::UPLOAD_LENGTH, length);
        request.header("content-encoding", encoding).body(bomb.clone()).send()
    };
    assert_eq!(send("1000000", "zstd").await.unwrap().status(), 413);
    assert_eq!(send(&(5u64 << 30).to_string(), "zstd").await.unwrap().status(), 413, "more than any object");
    assert_eq!(send("-1", "zstd").await.unwrap().status(), 400);
    assert_eq!(send("1000000", "br").await.unwrap().status(), 415);
    let garbage =
        edge.request(Method::PUT, &paths::object(&hash(b"bomb"))).header("content-encoding", "zstd");
    assert_eq!(garbage.body("no frame at all").send().await.unwrap().status(), 400);
    assert_eq!(unfinished(&bench), 0);
    // A message that is one is refused too.
    let bomb = zstd::bulk::compress(&vec![b' '; 200 << 20], 19).unwrap();
    let message = edge.request(Method::POST, paths::MISSING).header("content-encoding", "zstd");
    let message = message.header("content-type", "application/json").body(bomb).send().await.unwrap();
    assert_eq!(message.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_objects_do_not_fill_the_disk() {
    let bench = Bench::with(packs(), |config| {
        config.programs = vec![program("brightness")];
        config.link.bind = Some("127.0.0.1:0".parse().unwrap());
        config.limits.object_bytes = 100_000;
    })
    .await;
    let door = bench.open_door();
    let (edge, other) = (bench.enrolled(&door, "clinic").await, bench.enrolled(&door, "other").await);
    let theirs = text(60_000);
    assert_eq!(Put::of(&other, &theirs).plain(0, 50_000).await.status(), 409);
    for number in 0..70u32 {
        let mut whole = text(1000);
        whole.extend(number.to_le_bytes());
        assert_eq!(Put::of(&edge, &whole).plain(0, 900).await.status(), 409);
    }
    assert!(unfinished(&bench) <= 65, "{}", unfinished(&bench));
    // Large ones push each other out; another client's stay.
    for number in 0..4u32 {
        let mut whole = text(99_000);
        whole.extend(number.to_le_bytes());
        assert_eq!(Put::of(&edge, &whole).plain(0, 90_000).await.status(), 409);
    }
    assert!(unfinished(&bench) <= 4, "{}", unfinished(&bench));
    assert_eq!(Put::of(&other, &theirs).offset().await, 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_and_go_compressed() {
    let (bench, door) = bench().await;
    let edge = bench.enrolled(&door, "clinic").await;
    let many: Vec<ContentHash> = (0..2000u32).map(|n| hash(&n.to_le_bytes())).collect();
    let text = serde_json::to_vec(&many).unwrap();
    let answer = edge
        .request(Method::POST, paths::MISSING)
        .header("content-type", "application/json")
        .header("content-encoding", "zstd")
        .header("accept-encoding", "zstd")
        .body(zstd::bulk::compress(&text, 3).unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.json::<Vec<ContentHash>>().await.unwrap(), many);
    drop(bench);
}
