//! What is one client's is no other's, and what is one edge's result is no other edge's: by every way in.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_domain::ContentHash;
use overread_wire::paths;
use reqwest::Method;
use support::edges::{Edge, bench};
use support::{hash, pool, study, until};

/// The number of results that an edge finds.
async fn found(edge: &Edge) -> usize {
    edge.results(0, 0).await.results.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_learns_nothing_of_another_one() {
    let (mut bench, door) = bench().await;
    bench.start(pool(), 2).await;
    bench.set_mode("brightness", "review-all").await;
    let (ours, theirs) = (bench.enrolled(&door, "north").await, bench.enrolled(&door, "south").await);
    let sent = study("ours", 1, 1, Some("brightness"));
    ours.send(&sent).await;
    let page = ours.results(0, 30).await;
    let [message] = &page.results[..] else { panic!("{page:?}") };
    let capture = message.captures[0].sha256.clone();
    let image = hash(&sent.1[0]);
    assert_eq!(ours.object(&capture).await.status(), 200);
    // Objects: what is here is missing for them, and a capture is none.
    let said: Vec<ContentHash> =
        theirs.missing(&[image.clone(), capture.clone()]).await.json().await.unwrap();
    assert_eq!(said, [image.clone(), capture.clone()]);
    let nothing = theirs.object(&hash(b"nothing")).await;
    let refused = theirs.object(&capture).await;
    assert_eq!((refused.status(), nothing.status()), (404.try_into().unwrap(), 404.try_into().unwrap()));
    assert_eq!(refused.text().await.unwrap(), nothing.text().await.unwrap());
    // An upload: nothing of it is here for them.
    assert_eq!(theirs.offset(&image).await, "0");
    // A study: theirs is new under the same UID, whatever is in it, and asks for their own objects.
    let answer = theirs.put_study(&sent.0).await;
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("1 of the study's 1 objects are not here"));
    // Results and cursor.
    assert_eq!(found(&theirs).await, 0);
    let ahead = theirs.request(Method::GET, &format!("{}?after=1", paths::RESULTS)).send().await.unwrap();
    assert_eq!(ahead.status(), 409);
    assert!(ahead.text().await.unwrap().contains("has released 0"));
    // Forgetting it touches nothing of ours.
    assert_eq!(theirs.forget(&sent.0, 9).await.status(), 204);
    assert_eq!((found(&ours).await, ours.object(&capture).await.status().as_u16()), (1, 200));
    // The same study of another client is another study, with results of its own.
    let second = study("ours", 10, 1, Some("brightness"));
    theirs.send(&second).await;
    let theirs_page = theirs.results(0, 30).await;
    assert_eq!((theirs_page.results.len(), theirs_page.next.0), (1, 1), "counted apart");
    assert_eq!(found(&ours).await, 1);
    // The link's token is a client too.
    assert_eq!(bench.results(0, 0).await.results.len(), 0);
    bench.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_upload_is_its_clients_own() {
    let (bench, door) = bench().await;
    let (ours, theirs) = (bench.enrolled(&door, "north").await, bench.enrolled(&door, "south").await);
    let bytes = vec![7; 100_000];
    let path = paths::object(&hash(&bytes));
    let half = |edge: &Edge, offset: &str| {
        let request = edge.request(Method::PUT, &path).header(paths::UPLOAD_OFFSET, offset);
        request.header(paths::UPLOAD_LENGTH, "100000").body(bytes[..50_000].to_vec()).send()
    };
    assert_eq!(half(&ours, "0").await.unwrap().status(), 409, "half is not all");
    assert_eq!(
        (ours.offset(&hash(&bytes)).await, theirs.offset(&hash(&bytes)).await),
        ("50000".into(), "0".into())
    );
    let refused = half(&theirs, "50000").await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()[paths::UPLOAD_OFFSET]),
        (409, &"0".parse().unwrap())
    );
    assert_eq!(half(&ours, "50000").await.unwrap().status(), 201);
    assert_eq!(theirs.missing(&[hash(&bytes)]).await.json::<Vec<ContentHash>>().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_of_one_client_get_the_results_of_what_each_sent() {
    let (mut bench, door) = bench().await;
    bench.start(pool(), 2).await;
    bench.set_mode("brightness", "review-all").await;
    let (one, two) = (bench.enrolled(&door, "clinic").await, bench.enrolled(&door, "clinic").await);
    let (first, second) =
        (study("of one", 1, 1, Some("brightness")), study("of two", 1, 1, Some("brightness")));
    one.send(&first).await;
    two.send(&second).await;
    until(|| async { found(&one).await + found(&two).await == 2 }, || "both results".into()).await;
    let (ones, twos) = (one.results(0, 0).await, two.results(0, 0).await);
    assert_eq!((&ones.results[0].study, ones.next.0), (&first.0.study, 1));
    assert_eq!((&twos.results[0].study, twos.next.0), (&second.0.study, 1));
    // A picture goes to the edge whose study it shows.
    let picture = &ones.results[0].captures[0].sha256;
    assert_eq!(one.object(picture).await.status(), 200);
    if twos.results[0].captures[0].sha256 != *picture {
        assert_eq!(two.object(picture).await.status(), 404);
    }
    // One edge's cursor is not the other's.
    assert!(one.results(1, 0).await.results.is_empty());
    assert_eq!(found(&two).await, 1);
    bench.crash().await;
}
