//! Who gets in: tokens, scopes, the fixed token of the link, and pages in a browser.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use axum::Router;
use axum::routing::{get, post};
use overread_http::tokens::{self, Secret, TokenError};
use overread_http::{Actor, Auth, FixedToken, Need, Scope, openapi};
use overread_store::audit;
use support::{client, config, open, problem, until};

#[tokio::test]
async fn a_token_lives_from_its_making_to_its_revocation() {
    let door = open(config(Auth::Token), |door| door).await;
    let jobs = door.url("/api/v1/jobs");
    let (id, token) = door.token("dashboard", &[Scope::Read]).await;
    let ask = async |token: &str| client().get(&jobs).bearer_auth(token).send().await.unwrap();
    assert_eq!(ask(&token).await.status(), 200);
    assert_eq!(token, format!("ovr_{id}_{}", &token[17..]));
    assert_eq!(token.len(), 17 + 64);

    let rows = tokens::list(&door.common.db).await.unwrap();
    assert_eq!((rows[0].name.as_str(), &rows[0].scopes[..]), ("dashboard", &[Scope::Read][..]));
    assert!(!format!("{rows:?}").contains(&token[17..]), "a list shows the secret");
    until("the use is noted", async || {
        tokens::list(&door.common.db).await.unwrap()[0].last_used_at.is_some()
    })
    .await;

    let mut wrong = token.clone();
    let last = if wrong.pop() == Some('0') { '1' } else { '0' };
    wrong.push(last);
    for wrong in [
        wrong.as_str(),
        "",
        "ovr_",
        "ovr__",
        &token[..40],
        &token.replace("ovr_", "xyz_"),
        &format!("{token}0"),
    ] {
        let answer = ask(wrong).await;
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"), "{wrong}");
        problem(answer, 401).await;
    }

    assert!(tokens::revoke(&door.common.db, door.common.clock.now(), "cli", &id).await.unwrap());
    assert!(!tokens::revoke(&door.common.db, door.common.clock.now(), "cli", &id).await.unwrap());
    problem(ask(&token).await, 401).await;

    let log = audit::list(&door.common.db, 0, 10).await.unwrap();
    let actions: Vec<_> =
        log.iter().map(|e| (e.actor.as_str(), e.action.as_str(), e.subject.as_str())).collect();
    assert_eq!(actions, [("cli", "token.create", id.as_str()), ("cli", "token.revoke", id.as_str())]);
    assert!(!format!("{log:?}").contains(&token[17..]), "the audit log shows the secret");
}

#[tokio::test]
async fn the_database_holds_no_token_that_would_open_the_door() {
    let door = open(config(Auth::Token), |door| door).await;
    let (_, token) = door.token("a", &Scope::ALL).await;
    let mut conn = door.common.db.read().await.unwrap();
    let row = sqlx::query("SELECT hash FROM api_tokens").fetch_one(&mut *conn).await.unwrap();
    let hash: String = sqlx::Row::try_get(&row, 0).unwrap();
    assert_eq!(hash.len(), 64);
    assert!(!token.contains(&hash));
    assert_eq!(format!("{:?}", Secret::new("s3cret")), "Secret(…)");
}

#[tokio::test]
async fn names_and_scopes_that_cannot_be_are_refused() {
    let door = open(config(Auth::Token), |door| door).await;
    let make = async |name: &str, scopes: &[Scope]| {
        tokens::create(&door.common.db, door.common.clock.now(), "cli", name, scopes).await
    };
    assert!(matches!(make("", &Scope::ALL).await, Err(TokenError::Name)));
    assert!(matches!(make("a\nb", &Scope::ALL).await, Err(TokenError::Name)));
    assert!(matches!(make("a", &[]).await, Err(TokenError::NoScope)));
    assert!(tokens::list(&door.common.db).await.unwrap().is_empty());
}

async fn whoami(actor: Actor) -> String {
    actor.name
}

#[tokio::test]
async fn a_scope_opens_what_it_is_for_and_no_more() {
    let door = open(config(Auth::Token), |door| {
        let studies = Router::new().route("/dicomweb/studies", get(whoami).post(whoami));
        door.add(Need::by_method(Scope::Read, Scope::Store), studies)
    })
    .await;
    let (_, read) = door.token("reader", &[Scope::Read]).await;
    let (_, store) = door.token("modality 3", &[Scope::Store]).await;
    let studies = door.url("/dicomweb/studies");
    let get = async |token: &str| client().get(&studies).bearer_auth(token).send().await.unwrap();
    let post = async |token: &str| client().post(&studies).bearer_auth(token).send().await.unwrap();
    assert_eq!(get(&read).await.text().await.unwrap(), "token:reader");
    assert_eq!(post(&store).await.text().await.unwrap(), "token:modality 3");
    let refused = post(&read).await;
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("scope=\"store\""));
    assert!(problem(refused, 403).await["detail"].as_str().unwrap().contains("store"));
    problem(get(&store).await, 403).await;
    let requeue =
        client().post(door.url("/api/v1/jobs/requeue-dead")).bearer_auth(&read).send().await.unwrap();
    problem(requeue, 403).await;
}

#[tokio::test]
async fn every_documented_route_asks_for_a_token() {
    let secret = Secret::random();
    let door = open(config(Auth::Token), |door| {
        door.add_fixed(
            FixedToken::new("link", &secret),
            Router::new().route("/link/v1/missing", post(whoami)),
        )
    })
    .await;
    let document = serde_json::to_value(&door.api).unwrap();
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert_eq!(document["security"][0]["bearer"], serde_json::json!([]));
    let guarded = openapi::guarded_operations(&door.api);
    assert!(guarded.len() >= 7, "{guarded:?}");
    assert!(guarded.contains(&("POST", "/api/v1/jobs/1/requeue".to_owned())), "{guarded:?}");
    assert!(!guarded.iter().any(|(_, path)| path == "/healthz" || path == "/readyz"));
    for (method, path) in guarded
        .iter()
        .map(|(m, p)| (*m, p.as_str()))
        .chain([("GET", openapi::PATH), ("POST", "/link/v1/missing")])
    {
        let answer = client().request(method.parse().unwrap(), door.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{method} {path}");
        assert!(answer.headers().contains_key("www-authenticate"), "{method} {path}");
    }
    for open in ["/healthz", "/readyz"] {
        assert_eq!(client().get(door.url(open)).send().await.unwrap().status(), 200);
    }
    // The link's token opens the link and nothing else; an API token does not open the link.
    let (_, token) = door.token("all", &Scope::ALL).await;
    let link = async |token: &str| {
        client().post(door.url("/link/v1/missing")).bearer_auth(token).send().await.unwrap()
    };
    assert_eq!(link(secret.reveal()).await.text().await.unwrap(), "link");
    problem(link(&token).await, 401).await;
    let jobs = client().get(door.url("/api/v1/jobs")).bearer_auth(secret.reveal()).send().await.unwrap();
    problem(jobs, 401).await;
}

#[tokio::test]
async fn a_link_s_token_is_asked_for_even_where_nobody_else_is() {
    let secret = Secret::random();
    let door = open(config(Auth::None), |door| {
        door.add_fixed(
            FixedToken::new("link", &secret),
            Router::new().route("/link/v1/missing", post(whoami)),
        )
    })
    .await;
    problem(client().post(door.url("/link/v1/missing")).send().await.unwrap(), 401).await;
    let who = client().get(door.url("/api/v1/jobs")).send().await.unwrap();
    assert_eq!(who.status(), 200);
}

#[tokio::test]
async fn a_page_whose_name_was_made_to_point_here_is_turned_away() {
    let door = open(config(Auth::None), |door| door).await;
    let ask =
        async |host: &str| client().get(door.url("/api/v1/jobs")).header("host", host).send().await.unwrap();
    for ours in ["localhost", "127.0.0.1:9", "[::1]:80", "LOCALHOST:8080"] {
        assert_eq!(ask(ours).await.status(), 200, "{ours}");
    }
    for foreign in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.1.2.3"] {
        problem(ask(foreign).await, 403).await;
    }
    // With tokens the name does not matter: a proxy in front has its own.
    let door = open(config(Auth::Token), |door| door).await;
    let (_, token) = door.token("a", &[Scope::Read]).await;
    let answer = client().get(door.url("/api/v1/jobs")).header("host", "pacs.example").bearer_auth(token);
    assert_eq!(answer.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_page_of_another_site_reads_nothing_and_changes_nothing() {
    let door = open(config(Auth::None), |door| door).await;
    let requeue = door.url("/api/v1/jobs/requeue-dead");
    let post = async |origin: &str| client().post(&requeue).header("origin", origin).send().await.unwrap();
    for foreign in ["https://evil.example", "null", "http://localhost:3000"] {
        problem(post(foreign).await, 403).await;
    }
    assert_eq!(post(&format!("http://{}", door.address)).await.status(), 200);
    // Reading is left to the browser: without CORS headers it keeps the answer from the page.
    let read =
        client().get(door.url("/api/v1/jobs")).header("origin", "https://evil.example").send().await.unwrap();
    assert!(!read.headers().keys().any(|name| name.as_str().starts_with("access-control")));
    let ask = client().request("OPTIONS".parse().unwrap(), &requeue).header("origin", "https://evil.example");
    assert!(
        !ask.send().await.unwrap().headers().keys().any(|name| name.as_str().starts_with("access-control"))
    );
}
