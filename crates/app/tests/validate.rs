//! `overread validate`: a pack on labelled cases, read now or before; wrong input in clear words.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use support::{children, overread, peer, results, run, synthetic, text, workspace};

/// The sixteen radiographs of children with a label file that their names tell: who, and what.
struct Labelled {
    folder: tempfile::TempDir,
}

impl Labelled {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = vec!["file,label,pneumonia,patient,sex,age".to_owned()];
        for (index, picture) in children().iter().enumerate() {
            let name = picture.file_name().unwrap().to_str().unwrap();
            std::os::unix::fs::symlink(picture, folder.path().join(name)).unwrap();
            let sick = name.starts_with("person");
            let word = if sick { "pneumonia" } else { "normal" };
            // Two images of one child are in the names; each two of the others are called one here.
            let patient = if sick { name[..10].to_owned() } else { format!("n{}", index / 2) };
            let (sex, age) = (["f", "m"][index % 2], index);
            lines.push(format!("{name},{word},{},{patient},{sex},{age}", u8::from(sick)));
        }
        let labelled = Self { folder };
        fs::write(labelled.labels(), lines.join("\n")).unwrap();
        labelled
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn labels(&self) -> PathBuf {
        self.path().join("labels.csv")
    }

    /// `overread validate` with the label file and more arguments.
    fn validate(&self, args: &[&str]) -> Output {
        let mut command = overread();
        command.arg("validate").args(args).arg("--labels").arg(self.labels());
        run(&mut command)
    }

    /// … of the folder, under the starter pack, as JSON.
    fn record(&self, args: &[&str]) -> Value {
        let mut all = vec![self.path().to_str().unwrap(), "--program", "cxr-pneumonia", "--format", "json"];
        all.extend(args);
        json(&self.validate(&all))
    }

    /// What is said where it does not work.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.validate(args);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        text(&output.stderr)
    }
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Share of (positive, negative) pairs in order; a tie counts half.
fn pairs_in_order(cases: &[(bool, f64)]) -> f64 {
    let of = |truth: bool| cases.iter().filter(move |c| c.0 == truth).map(|c| c.1);
    let pairs: Vec<f64> = of(true)
        .flat_map(|p| {
            of(false).map(move |n| {
                if p > n {
                    1.0
                } else if p < n {
                    0.0
                } else {
                    0.5
                }
            })
        })
        .collect();
    pairs.iter().sum::<f64>() / pairs.len() as f64
}

#[test]
fn figures_of_a_folder_are_those_of_its_results() {
    let labelled = Labelled::new();
    let mut command = overread();
    command.arg("classify").arg(labelled.path()).args(["--program", "cxr-pneumonia", "--format", "jsonl"]);
    let classified = run(&mut command);
    let answers = results(&classified);
    let assessed: Vec<(bool, f64)> = answers
        .iter()
        .filter_map(|r| {
            let sick = r["source"].as_str()?.rsplit('/').next()?.starts_with("person");
            Some((sick, r["results"][0]["findings"][0]["probability"].as_f64()?))
        })
        .collect();
    let record = labelled.record(&["--finding", "pneumonia=label:pneumonia"]);
    let finding = &record["findings"][0];
    assert_eq!(record["cases"]["cases"], 16);
    assert_eq!(finding["cases"]["assessed"].as_u64().unwrap() as usize, assessed.len());
    assert!((finding["cases"]["auroc"]["value"].as_f64().unwrap() - pairs_in_order(&assessed)).abs() < 1e-12);
    assert_eq!(finding["cases"]["small"], true, "eight positive cases are few");
    // The same from results that were printed before, without reading anything.
    let file = labelled.path().join("results.jsonl");
    fs::write(&file, &classified.stdout).unwrap();
    let args =
        ["--results", file.to_str().unwrap(), "--finding", "pneumonia=label:pneumonia", "--format", "json"];
    let again = json(&labelled.validate(&args));
    assert_eq!((&again["findings"], &again["pack"]), (&record["findings"], &record["pack"]));
}

#[test]
fn files_of_a_patient_are_one_case() {
    let labelled = Labelled::new();
    let record = labelled.record(&["--group", "patient", "--subgroup", "sex"]);
    let (cases, images) = (&record["findings"][0]["cases"], &record["findings"][0]["images"]);
    assert_eq!((record["cases"]["cases"].as_u64(), record["cases"]["images"].as_u64()), (Some(11), Some(16)));
    assert_eq!(cases["positives"], 7);
    assert!(images["assessed"].as_u64() > cases["assessed"].as_u64());
    let values: Vec<&str> = record["findings"][0]["subgroups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["value"].as_str().unwrap())
        .collect();
    assert!(values.contains(&"f") && values.contains(&"several"), "{values:?}");
    // Single results are joined by the pack that made them, to the same answer.
    let mut command = overread();
    command.arg("classify").arg(labelled.path()).args(["--program", "cxr-pneumonia", "--format", "jsonl"]);
    let file = labelled.path().join("results.jsonl");
    fs::write(&file, run(&mut command).stdout).unwrap();
    let results =
        ["--results", file.to_str().unwrap(), "--group", "patient", "--subgroup", "sex", "--format", "json"];
    let joined = json(&labelled.validate(&[&results[..], &["--program", "cxr-pneumonia"]].concat()));
    assert_eq!(joined["findings"], record["findings"]);
    assert!(labelled.refused(&results).contains("only the pack that read them can join"));
}

#[test]
fn the_record_is_of_its_schema_and_the_page_shows_it() {
    let labelled = Labelled::new();
    let out = labelled.path().join("out");
    let schema = workspace().join("docs/schema/overread.validation-1.json");
    let printed = text(&run(overread().args(["schema", "validation"])).stdout);
    let known = fs::read_to_string(&schema).unwrap_or_default();
    assert_eq!(printed, known, "run: overread schema validation > docs/schema/overread.validation-1.json");
    let record = labelled.record(&[
        "--out",
        out.to_str().unwrap(),
        "--compare",
        workspace().join("models/cxr-pneumonia").to_str().unwrap(),
        "--subgroup",
        "sex,age",
        "--prevalence",
        "0.1",
        "--studies-a-day",
        "50",
        "--at",
        "0.3",
    ]);
    let written = fs::read_to_string(out.join("validation.json")).unwrap();
    let line = labelled.path().join("record.jsonl");
    fs::write(&line, serde_json::from_str::<Value>(&written).unwrap().to_string()).unwrap();
    assert_eq!(peer("check_schema.py", &[&schema, &line]).trim(), "1");
    let finding = &record["findings"][0];
    let ages: Vec<&Value> = finding["subgroups"].as_array().unwrap().iter().map(|s| &s["value"]).collect();
    assert_eq!(ages, ["f", "m", "00–09", "10–19"]);
    assert_eq!(record["comparison"]["findings"][0]["auroc"]["difference"], 0.0, "an edition beside itself");
    assert!(finding["thresholds"][3]["alerts_a_day"].as_f64().is_some());
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    // Each picture has a title and a description, and the page runs nothing and fetches nothing.
    let pictures = page.matches("<svg").count();
    assert_eq!(pictures, 4);
    assert_eq!((page.matches("<title id=").count(), page.matches("<desc id=").count()), (pictures, pictures));
    assert!(
        page.matches("<table>").count() > pictures && !page.contains("<script") && !page.contains("http")
    );
    // Nobody is in record and page.
    for text in [&page, &written] {
        assert!(!text.contains("person1946") && !text.contains(labelled.path().to_str().unwrap()));
    }
}

#[test]
fn wrong_labels_are_told_in_words() {
    let labelled = Labelled::new();
    let folder = labelled.path().to_str().unwrap().to_owned();
    let base = [folder.as_str(), "--program", "cxr-pneumonia"];
    let with = |more: &[&str]| labelled.refused(&[&base[..], more].concat());
    assert!(with(&["--finding", "pneumonia=lable"]).contains("has no column lable; it has file, label"));
    assert!(with(&["--finding", "pneumonia=label:Pneumonia"]).contains("there are normal, pneumonia"));
    assert!(
        with(&["--finding", "cancer=label"]).contains("the pack has no finding cancer; it has pneumonia")
    );
    assert!(with(&["--finding", "pneumonia=label"]).contains("it is 0 or 1"));
    assert!(with(&["--subgroup", "height"]).contains("no column height"));
    assert!(
        with(&["--subgroup", "patient"]).contains("tells people apart"),
        "who somebody is stays out of a record"
    );
    assert!(with(&["--where", "sex=x"]).contains("no row is left"));
    assert!(
        labelled
            .refused(&[&folder, "--program", "nothing"])
            .contains("there are: brain-mri-tumour, cxr-pneumonia")
    );
    let good = fs::read_to_string(labelled.labels()).unwrap();
    let twice = format!("{good}\n{}", good.lines().nth(1).unwrap());
    fs::write(labelled.labels(), twice).unwrap();
    assert!(with(&[]).contains("two rows for NORMAL2-IM-1427-0001.jpeg"));
    fs::write(labelled.labels(), format!("{good}\ngone.png,normal,0,x,f,1")).unwrap();
    assert!(with(&[]).contains("gone.png has a label and is no file"));
    fs::write(labelled.labels(), good.replace("file,", "name,")).unwrap();
    assert!(with(&[]).contains("has no column file"));
}

#[test]
fn one_class_is_said_and_is_no_failure() {
    let labelled = Labelled::new();
    let record = labelled.record(&["--where", "label=normal"]);
    let auroc = &record["findings"][0]["cases"]["auroc"];
    assert!(auroc["value"].is_null() && auroc["note"].as_str().unwrap().contains("one class"));
    assert!(record["findings"][0]["cases"]["points"][0]["sensitivity"]["value"].is_null());
    let all = labelled.record(&[]);
    assert!(all["findings"][0]["cases"]["auroc"]["value"].is_f64());
}

#[test]
fn a_cross_validation_is_of_no_edition() {
    let labelled = Labelled::new();
    let mut command = overread();
    command.arg("classify").arg(labelled.path()).arg("--pack").arg(synthetic("brightness"));
    let one = text(&run(command.args(["--allow-untrusted", "--format", "jsonl"])).stdout);
    let file = labelled.path().join("results.jsonl");
    // As if the second half had been read by the pack of another fold.
    let (first, second) = one.split_at(one.match_indices('\n').nth(7).unwrap().0 + 1);
    fs::write(&file, format!("{first}{}", second.replace("\"edition\":\"", "\"edition\":\"0"))).unwrap();
    let args = ["--results", file.to_str().unwrap(), "--finding", "bright=pneumonia", "--format", "json"];
    assert!(labelled.refused(&args).contains("two editions"));
    let record = json(&labelled.validate(&[&args[..], &["--cross-validated"]].concat()));
    assert_eq!(record["cases"]["cases"], 16);
    assert_eq!(record["pack"]["edition"], "cross-validated", "no program's edition has such a name");
    assert!(record["remarks"][0].as_str().unwrap().contains("validates a recipe"));
}

#[test]
fn wrong_results_are_told_with_their_line() {
    let labelled = Labelled::new();
    let mut command = overread();
    command.arg("classify").arg(labelled.path()).arg("--pack").arg(synthetic("brightness"));
    let good = text(&run(command.args(["--allow-untrusted", "--format", "jsonl"])).stdout);
    let file = labelled.path().join("results.jsonl");
    let refused = |content: &str| {
        fs::write(&file, content).unwrap();
        labelled.refused(&["--results", file.to_str().unwrap(), "--finding", "bright=pneumonia"])
    };
    let lines: Vec<&str> = good.lines().collect();
    assert!(refused(&lines[1..].join("\n")).contains("has a label and no result"));
    assert!(refused(&format!("{good}{}", lines[0])).contains("has two results"));
    assert!(refused("{}").contains("line 1"));
    assert!(refused("").contains("holds no results"));
    let other = good.replacen("\"edition\":\"", "\"edition\":\"0", 1);
    assert!(refused(&other).contains("two editions"));
    let mut first: Value = serde_json::from_str(lines[0]).unwrap();
    first["results"][0]["findings"][0]["probability"] = Value::Null;
    let empty = format!("{first}\n{}", lines[1..].join("\n"));
    assert!(refused(&empty).contains("neither probability nor score"));
    let not_a_number = good.replacen("\"probability\":0", "\"probability\":NaN, \"x\":0", 1);
    assert!(refused(&not_a_number).contains("line 1"));
}
