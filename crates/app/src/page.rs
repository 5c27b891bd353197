//! A page to look at: each study's pictures and findings side by side. Plain HTML, no scripts, nothing fetched.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

const STYLE: &str = "
:root{color-scheme:dark light}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:1rem;background:#14171a;color:#e8e8e8}
article{border-top:1px solid #444;padding:1rem 0;display:grid;grid-template-columns:minmax(0,2fr) minmax(18rem,1fr);gap:1.5rem}
@media(max-width:60rem){article{grid-template-columns:1fr}}
img{max-width:100%;background:#000;border-radius:4px}
h2{font-size:1rem;overflow-wrap:anywhere;margin:0 0 .5rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:top}
.present{color:#ff9d8a;font-weight:700}.absent{color:#8fdc9b}.indeterminate{color:#ffd479;font-weight:700}
.not-assessed,.failed,.caveat{color:#ffd479}
small,.note{color:#b5bcc4}a{color:#8ec5ff}
";

/// The page for results whose artifacts lie in `folder`.
pub fn render(folder: &Path, results: &[Value]) -> String {
    let mut html = String::new();
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Overread results</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body><main>\
         <h1>Overread results</h1><p>{}</p><p class=\"note\">AI results, unverified. Not for clinical use without \
         local validation. The coloured map shows what spoke for a finding; it is coarse and not a localisation.</p>",
        escape(&summary(results))
    );
    for result in results {
        study(&mut html, folder, result);
    }
    html.push_str("</main></body></html>\n");
    html
}

fn summary(results: &[Value]) -> String {
    let count = |status: &str| results.iter().filter(|r| r["status"] == status).count();
    format!(
        "{} studies: {} classified, {} not assessed, {} failed.",
        results.len(),
        count("classified"),
        count("not-assessed"),
        count("failed")
    )
}

fn study(html: &mut String, folder: &Path, result: &Value) {
    let source = text(&result["source"]);
    let name = Path::new(&source).file_name().map_or(source.clone(), |n| n.to_string_lossy().into_owned());
    html.push_str("<article><div>");
    for artifact in list(&result["artifacts"]).filter(|a| a["kind"] == "overlay-png") {
        let path = text(&artifact["path"]);
        let path = Path::new(&path);
        let link = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        let alt = format!("{name}: the image, and the image under the explanation");
        let _ = write!(html, "<img src=\"{}\" alt=\"{}\" loading=\"lazy\">", escape(&link), escape(&alt));
    }
    let _ = write!(html, "</div><div><h2>{}</h2>", escape(&name));
    if result["reason"].is_object() {
        let (status, message) = (text(&result["status"]), text(&result["reason"]["message"]));
        let _ = write!(
            html,
            "<p class=\"{0}\">{1}: {2}</p>",
            escape(&status),
            escape(&status.replace('-', " ")),
            escape(&message)
        );
    }
    for program in list(&result["results"]) {
        findings(html, program);
    }
    for warning in list(&result["warnings"]) {
        let _ = write!(html, "<p class=\"note\">{}</p>", escape(&text(warning)));
    }
    considered(html, result);
    html.push_str("<p>");
    for artifact in list(&result["artifacts"]) {
        let (path, kind) = (text(&artifact["path"]), text(&artifact["kind"]));
        let path = Path::new(&path);
        let link = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        let _ = write!(html, "<a href=\"{}\">{}</a> ", escape(&link), escape(&kind.replace('-', " ")));
    }
    html.push_str("</p></div></article>");
}

/// Which programs took the study and which did not, and why; open where none answered.
fn considered(html: &mut String, result: &Value) {
    if list(&result["considered"]).next().is_none() {
        return;
    }
    let open = if list(&result["results"]).next().is_none() { " open" } else { "" };
    let _ = write!(html, "<details class=\"note\"{open}><summary>Programs</summary><ul>");
    let (others, near): (Vec<_>, Vec<_>) =
        list(&result["considered"]).partition(|program| program["code"] == "modality");
    for program in near {
        let _ = write!(
            html,
            "<li>{} {}: {}</li>",
            escape(&text(&program["program"])),
            if program["taken"] == true { "read it" } else { "did not read it" },
            escape(&text(&program["why"]))
        );
    }
    if !others.is_empty() {
        let _ = write!(html, "<li>{} read other modalities</li>", others.len());
    }
    html.push_str("</ul></details>");
}

fn findings(html: &mut String, program: &Value) {
    if program["status"] == "not-assessed" {
        // The reason stands above, and one row a finding would say nothing more.
        let _ = write!(html, "<p class=\"note\">{}: not assessed</p>", escape(&text(&program["program"])));
        return caveats(html, program);
    }
    let _ = write!(
        html,
        "<table><caption class=\"note\">{}, edition {}</caption><thead><tr><th scope=\"col\">finding</th>\
         <th scope=\"col\">probability</th><th scope=\"col\">decision</th></tr></thead><tbody>",
        escape(&text(&program["program"])),
        escape(&text(&program["edition"]).chars().take(12).collect::<String>())
    );
    for f in list(&program["findings"]) {
        let percent = |v: &Value| v.as_f64().map(|p| format!("{:.1}%", p * 100.0));
        let number = percent(&f["probability"]).unwrap_or_else(|| {
            f["score"].as_f64().map_or("–".into(), |s| format!("score {s:.2}, not calibrated"))
        });
        let decision = text(&f["decision"]);
        let range = match (percent(&f["rule_out"]), percent(&f["rule_in"])) {
            (Some(low), Some(high)) => format!("absent up to {low}, present from {high}"),
            (None, Some(high)) => format!("present from {high}"),
            _ => String::new(),
        };
        let at = percent(&f["prevalence"]).map_or(String::new(), |p| format!(" at prevalence {p}"));
        let why = text(&f["reason"]["message"]);
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}<br><small>{}{}</small></td><td class=\"{}\">{}<br><small>{}</small></td></tr>",
            escape(&name(f)),
            escape(&number),
            escape(&range),
            escape(&at),
            escape(&decision),
            escape(&decision.replace('-', " ")),
            escape(&why)
        );
    }
    html.push_str("</tbody></table>");
    caveats(html, program);
}

fn caveats(html: &mut String, program: &Value) {
    for caveat in list(&program["caveats"]) {
        let _ = write!(html, "<p class=\"caveat\">{}</p>", escape(&text(caveat)));
    }
}

/// A finding's label, and its side where it has one.
fn name(finding: &Value) -> String {
    match finding["laterality"].as_str() {
        Some(side) => format!("{} ({side})", text(&finding["label"])),
        None => text(&finding["label"]),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        let result = serde_json::json!({
            "source": "/x/<script>alert(1)</script>.png", "status": "failed",
            "reason": {"code": "unreadable", "message": "\"><img src=x>"},
            "results": [], "artifacts": [], "warnings": ["<b>"],
        });
        let html = render(Path::new("/x"), &[result]);
        assert!(!html.contains("<script>") && !html.contains("<img src=x") && !html.contains("<b>"));
    }
}
