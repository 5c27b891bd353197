//! What holds and what does not: each test would fail if the seal were weaker.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;

const PLACE: &str = "in/1/a.sealed";
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const HEAD: usize = 56;

fn sealed(key: &DataKey, id: KeyId, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    seal(key, id, PLACE, bytes, &mut out).unwrap();
    out
}

fn opened(key: &DataKey, place: &str, mut sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let head = Head::read(&mut sealed)?;
    let mut out = Vec::new();
    head.open(key, place, sealed, &mut out)?;
    Ok(out)
}

fn refused(outcome: Result<Vec<u8>, VaultError>) -> bool {
    matches!(outcome, Err(VaultError::Seal { .. }))
}

fn soft(byte: u8) -> Arc<dyn Master> {
    let text = format!("{byte:02x}").repeat(32);
    Arc::new(of_text(&text, "a test").unwrap().pop().unwrap())
}

#[test]
fn a_file_of_any_length_comes_back_and_shows_nothing() {
    let (key, id) = (DataKey::random().unwrap(), KeyId::random().unwrap());
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7] {
        let bytes = b"CANARY^NAME".iter().copied().cycle().take(length).collect::<Vec<u8>>();
        let file = sealed(&key, id, &bytes);
        assert_eq!(file.len(), HEAD + length + TAG * (length / CHUNK + 1));
        assert!(!file.windows(6).any(|w| w == b"CANARY"));
        assert_eq!(Head::read(&mut &file[..]).unwrap().key(), id);
        assert!(opened(&key, PLACE, &file).unwrap() == bytes);
        assert_ne!(file, sealed(&key, id, &bytes), "two seals of one file are alike");
    }
}

#[test]
fn a_file_that_is_cut_reordered_lengthened_flipped_or_elsewhere_is_refused() {
    let (key, id) = (DataKey::random().unwrap(), KeyId::random().unwrap());
    for length in [10, 2 * CHUNK, 2 * CHUNK + 10] {
        let file = sealed(&key, id, &vec![7; length]);
        // At each border of a chunk, and beside it.
        let borders = (0..=length / CHUNK).map(|n| HEAD + n * (CHUNK + TAG));
        for cut in
            borders.flat_map(|b| [b.wrapping_sub(1), b, b + 1]).filter(|c| *c < file.len()).chain([0, 8, 55])
        {
            assert!(refused(opened(&key, PLACE, &file[..cut])), "cut at {cut} of {}", file.len());
        }
        for place in (0..file.len()).step_by(file.len() / 97 + 1).chain(0..HEAD).chain([file.len() - 1]) {
            let mut flipped = file.clone();
            flipped[place] ^= 1;
            assert!(refused(opened(&key, PLACE, &flipped)), "a bit at {place}");
        }
        let mut longer = file.clone();
        longer.extend(&file[HEAD..]);
        assert!(refused(opened(&key, PLACE, &longer)));
        longer = file.clone();
        longer.push(0);
        assert!(refused(opened(&key, PLACE, &longer)));
        assert!(refused(opened(&key, "in/1/b.sealed", &file)), "another place");
        assert!(refused(opened(&DataKey::random().unwrap(), PLACE, &file)), "another key");
    }
    let mut file = sealed(&key, id, &vec![7; 3 * CHUNK]);
    let (first, second) = (HEAD..HEAD + CHUNK + TAG, HEAD + CHUNK + TAG..HEAD + 2 * (CHUNK + TAG));
    let moved = file[first.clone()].to_vec();
    file.copy_within(second.clone(), first.start);
    file[second].copy_from_slice(&moved);
    assert!(refused(opened(&key, PLACE, &file)), "chunks in another order");
}

#[test]
fn a_text_opens_in_its_place_alone() {
    let key = DataKey::random().unwrap();
    let place = ["instances.attributes", "1.2.3"];
    let text = key.seal_text(&place, "Canary^Ä").unwrap();
    assert_eq!(*key.open_text(&place, &text).unwrap(), "Canary^Ä");
    for other in [&["instances.attributes", "1.2.4"][..], &["instances.attributes1.2.3"], &[]] {
        assert!(key.open_text(other, &text).is_err());
    }
    assert!(DataKey::random().unwrap().open_text(&place, &text).is_err());
    for wrong in ["", "AAAA", "no base64!", &text[..text.len() - 4]] {
        assert!(key.open_text(&place, wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_fingerprint_hangs_on_key_and_every_part() {
    let key = DataKey::random().unwrap();
    let one = key.fingerprint(&["HOSP", "123"]);
    assert_eq!(one, key.fingerprint(&["HOSP", "123"]));
    let others = [
        key.fingerprint(&["HOSP1", "23"]),
        key.fingerprint(&["", "HOSP123"]),
        DataKey::random().unwrap().fingerprint(&["HOSP", "123"]),
    ];
    assert!(others.iter().all(|other| *other != one));
}

#[test]
fn the_newest_master_wraps_all_unwrap_and_after_rewrapping_the_old_one_opens_nothing() {
    let (key, old, new) = (DataKey::random().unwrap(), soft(1), soft(2));
    let before = Masters::new(vec![old.clone()]).unwrap();
    let both = Masters::new(vec![new.clone(), old]).unwrap();
    let after = Masters::new(vec![new]).unwrap();
    let wrapped = before.wrap("p", &key).unwrap();
    let again = both.rewrap("p", &wrapped).unwrap();
    assert_eq!((again.master.as_str(), both.newest()), (after.newest(), after.newest()));
    for (masters, wrapped) in [(&before, &wrapped), (&both, &wrapped), (&both, &again), (&after, &again)] {
        assert!(masters.unwrap("p", wrapped).unwrap().bytes() == key.bytes());
    }
    let said = before.unwrap("p", &again).err().unwrap().to_string();
    assert!(
        said.contains(after.newest())
            && said.contains(before.newest())
            && said.contains("OVERREAD_VAULT_KEY")
    );
    // Under another name, or as if the other master had wrapped it, it does not open.
    assert!(matches!(both.unwrap("q", &again), Err(VaultError::Seal { .. })));
    let lied = Wrapped { master: before.newest().to_owned(), ..again };
    assert!(matches!(both.unwrap("p", &lied), Err(VaultError::Seal { .. })));
}

#[test]
fn keys_are_read_from_hexadecimal_and_base64_and_nothing_else() {
    let (hex, base64) = ("01".repeat(32), "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    let ids =
        |text: &str| of_text(text, "a test").unwrap().iter().map(|k| k.id().to_owned()).collect::<Vec<_>>();
    let one = ids(&hex);
    assert_eq!(one, ids(base64));
    assert_eq!(one, ids(base64.trim_end_matches('=')));
    assert_eq!(ids(&format!("# said\n{hex}, {base64}\n")), [one.clone(), one].concat());
    for wrong in [&hex[1..], "AQEB", &format!("{hex},short"), &"zz".repeat(32), &"é".repeat(32)] {
        assert!(matches!(of_text(wrong, "a test"), Err(VaultError::NotAKey { .. })), "{wrong}");
    }
    assert!(matches!(of_text("# nothing\n", "a test"), Err(VaultError::NoKey { .. })));
}

#[test]
fn a_key_file_is_made_once_for_its_owner_alone_and_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    let file = KeyFile::at(&path);
    assert!(file.load().unwrap().is_none());
    file.create().unwrap();
    let first = file.load().unwrap().unwrap();
    file.create().unwrap();
    assert_eq!(file.load().unwrap().unwrap()[0].id(), first[0].id());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut both = vec![SoftMaster::random().unwrap()];
    both.extend(first);
    file.replace(&both).unwrap();
    let ids = |keys: &[SoftMaster]| keys.iter().map(|k| k.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&file.load().unwrap().unwrap()), ids(&both));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft is left");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(file.load(), Err(VaultError::KeyExposed { mode: 0o644 })));
}

#[test]
fn a_key_id_is_its_text() {
    let id = KeyId::random().unwrap();
    assert_eq!(KeyId::parse(&id.to_string()), Some(id));
    for wrong in ["", "abc", &"A".repeat(32), &"g".repeat(32), &"0".repeat(33)] {
        assert_eq!(KeyId::parse(wrong), None);
    }
}
