//! How an edge gets in, and how it is kept out.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use overread_service::clients;
use overread_wire::{EnrolAnswer, EnrolmentCode, RenewRequest, paths};
use rcgen::KeyPair;
use reqwest::Method;
use serde_json::Value;
use support::edges::{bench, client};
use support::{hash, study};

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_enrols_once_and_is_known_by_its_certificate() {
    let (bench, door) = bench().await;
    let code = bench.code(&door, "clinic").await;
    let key = KeyPair::generate().unwrap();
    let answer: EnrolAnswer = door.enrol(&code, &key).await.json().await.unwrap();
    assert_eq!(answer.client, "clinic");
    assert!(answer.certificate.contains("BEGIN CERTIFICATE") && !answer.certificate.contains("PRIVATE"));
    // The answer may be lost: the same key gets the same again, and another key gets nothing.
    let again: EnrolAnswer = door.enrol(&code, &key).await.json().await.unwrap();
    assert_eq!(again, answer);
    assert_eq!(door.enrol(&code, &KeyPair::generate().unwrap()).await.status(), 403);
    let edge = door.edge(answer, &key);
    edge.send(&study("enrolled", 1, 1, None)).await;
    let rows = clients::list(&bench.service.database).await.unwrap();
    let clinic = rows.iter().find(|c| c.client == "clinic").unwrap();
    assert_eq!((clinic.edges.len(), clinic.edges[0].name.as_str()), (1, "north 1"));
    assert_eq!(clinic.edges[0].id, edge.answer.edge);
    assert_eq!(bench.get("/api/v1/cases").await["cases"][0]["client"], "clinic");
    let audit = bench.get("/api/v1/audit?limit=100").await;
    let done: Vec<_> = audit["entries"].as_array().unwrap().iter().map(|e| e["action"].clone()).collect();
    for action in ["client.add", "client.code", "edge.enrolled"] {
        assert!(done.contains(&Value::from(action)), "{action}: {audit}");
    }
    assert!(!audit.to_string().contains(&code.secret), "a secret is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_no_certificate_of_ours_gets_nowhere() {
    let (bench, door) = bench().await;
    let edge = bench.enrolled(&door, "clinic").await;
    let (manifest, _) = study("nobody", 1, 1, None);
    let nobody = client(door.authority.pem(), None);
    for (method, path) in [
        (Method::POST, paths::MISSING.to_owned()),
        (Method::GET, paths::RESULTS.to_owned()),
        (Method::PUT, paths::object(&hash(b"x"))),
        (Method::HEAD, paths::object(&hash(b"x"))),
        (Method::GET, paths::object(&hash(b"x"))),
        (Method::PUT, paths::study(&manifest.study, 1)),
        (Method::DELETE, paths::forget(&manifest.study, 1)),
        (Method::POST, paths::RENEW.to_owned()),
    ] {
        let answer = nobody.request(method.clone(), format!("{}{path}", door.base)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{method} {path}");
        // The link's token is none here.
        let answer =
            nobody.request(method.clone(), format!("{}{path}", door.base)).bearer_auth(support::TOKEN);
        assert_eq!(answer.send().await.unwrap().status(), 401, "{method} {path}");
    }
    // The API is behind the other door alone.
    assert_eq!(edge.request(Method::GET, "/api/v1/cases").send().await.unwrap().status(), 404);
    // A certificate of another service's authority does not come through TLS.
    let (other, elsewhere) = support::edges::bench().await;
    let code = other.code(&elsewhere, "clinic").await;
    let key = KeyPair::generate().unwrap();
    let foreign: EnrolAnswer = elsewhere.enrol(&code, &key).await.json().await.unwrap();
    let foreign = client(door.authority.pem(), Some((&foreign.certificate, &key.serialize_pem())));
    assert!(foreign.get(format!("{}{}", door.base, paths::RESULTS)).send().await.is_err());
    // Nor does a service whose authority the client does not know.
    assert!(client(elsewhere.authority.pem(), None).get(&door.base).send().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_that_are_not_good_are_refused_alike() {
    let (bench, door) = bench().await;
    let used = bench.code(&door, "clinic").await;
    assert_eq!(door.enrol(&used, &KeyPair::generate().unwrap()).await.status(), 200);
    let expired = bench.code(&door, "clinic").await;
    let mut tx = bench.service.database.begin().await.unwrap();
    sqlx::query("UPDATE enrolment_codes SET expires_at = 1 WHERE id = $1")
        .bind(expired.id.clone())
        .execute(&mut *tx)
        .await
        .unwrap();
    overread_store::Database::commit(tx).await.unwrap();
    let good = bench.code(&door, "clinic").await;
    let unknown = EnrolmentCode { id: "0".repeat(12), ..good.clone() };
    let wrong = EnrolmentCode { secret: "0".repeat(32), ..good.clone() };
    let mut said = vec![];
    for code in [&used, &expired, &unknown, &wrong] {
        let answer = door.enrol(code, &KeyPair::generate().unwrap()).await;
        said.push((answer.status(), answer.text().await.unwrap()));
    }
    assert_eq!(said[0].0, 403);
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    assert_eq!(
        door.enrol(&good, &KeyPair::generate().unwrap()).await.status(),
        200,
        "a wrong try used it up"
    );
    // Whoever goes on guessing waits.
    let mut last = 0;
    for _ in 0..12 {
        last = door.enrol(&unknown, &KeyPair::generate().unwrap()).await.status().as_u16();
    }
    assert_eq!(last, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_use_a_code_at_once_one_gets_in() {
    let (bench, door) = bench().await;
    let code = bench.code(&door, "clinic").await;
    let keys: Vec<KeyPair> = (0..4).map(|_| KeyPair::generate().unwrap()).collect();
    let answers = futures::future::join_all(keys.iter().map(|key| door.enrol(&code, key))).await;
    let enrolled = answers.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!(enrolled, 1);
    let rows = clients::list(&bench.service.database).await.unwrap();
    assert_eq!(rows.iter().map(|c| c.edges.len()).sum::<usize>(), 2, "it and `default`: {rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_edge_is_refused_at_its_next_request() {
    let (bench, door) = bench().await;
    let (edge, other) = (bench.enrolled(&door, "clinic").await, bench.enrolled(&door, "clinic").await);
    assert_eq!(edge.missing(&[hash(b"x")]).await.status(), 200);
    let revoke =
        || clients::revoke(&bench.service.database, bench.service.clock.now(), "a test", &edge.answer.edge);
    assert!(revoke().await.unwrap());
    assert!(!revoke().await.unwrap(), "once is enough");
    // The connection is the one from before.
    let refused = edge.missing(&[hash(b"x")]).await;
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("revoked"));
    assert_eq!(other.missing(&[hash(b"x")]).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_and_the_old_one_is_good_until_then() {
    let (bench, door) = bench().await;
    let edge = bench.enrolled(&door, "clinic").await;
    let key = KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let renew = || edge.request(Method::POST, paths::RENEW).json(&RenewRequest { csr: csr.clone() }).send();
    let lost: EnrolAnswer = renew().await.unwrap().json().await.unwrap();
    // The answer was lost: it asks again, and what was never used is good no more.
    let next: EnrolAnswer = renew().await.unwrap().json().await.unwrap();
    assert_eq!((&next.edge, &next.client), (&edge.answer.edge, &edge.answer.client));
    assert_eq!(door.edge(lost, &key).missing(&[]).await.status(), 403);
    assert_eq!(edge.missing(&[]).await.status(), 200);
    assert_eq!(door.edge(next, &key).missing(&[]).await.status(), 200);
    assert_eq!(renew().await.unwrap().status(), 200);
    let bad = edge.request(Method::POST, paths::RENEW).json(&RenewRequest { csr: "x".into() }).send().await;
    assert_eq!(bad.unwrap().status(), 422);
}
