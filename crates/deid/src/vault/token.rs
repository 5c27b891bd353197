//! A master key that never leaves its PKCS#11 token: wrapping and unwrapping happen in there (CKM_AES_GCM).

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::gcm::random;
use super::master::id_of;
use super::{Master, VaultError};

const NONCE: usize = 12;
const TAG_BITS: u64 = 128;

/// Where a key lies.
pub struct Place {
    /// The module: the shared library of the token's maker.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The user's PIN.
    pub pin: Zeroizing<String>,
    /// The key's label, an AES key of 256 bits that may encrypt and decrypt.
    pub key: String,
}

/// A master key in a token.
pub struct Token {
    id: String,
    key: ObjectHandle,
    /// One at a time: a session does one operation.
    session: Mutex<Session>,
    /// Kept as long as its session.
    _module: Pkcs11,
}

fn failed(doing: &'static str) -> impl FnOnce(Error) -> VaultError {
    move |e| VaultError::Token { doing, source: e.into() }
}

fn absent(doing: &'static str, what: &str) -> VaultError {
    VaultError::Token { doing, source: what.to_owned().into() }
}

impl Token {
    /// Opens the token and finds the key.
    ///
    /// # Errors
    /// [`VaultError::Token`] says what is not there, or what the token refused.
    pub fn open(place: &Place) -> Result<Self, VaultError> {
        let module = Pkcs11::new(&place.module)
            .map_err(failed("its module cannot be loaded; look at edge.vault.pkcs11.module"))?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another key of the same module was opened before.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(e) => return Err(failed("its module does not start")(e)),
        }
        let slots = module.get_slots_with_token().map_err(failed("it does not list its slots"))?;
        let mut found = None;
        for slot in slots {
            let about = module.get_token_info(slot).map_err(failed("it says nothing of itself"))?;
            if about.label().trim_end() == place.token {
                found = Some((slot, about.serial_number().to_owned()));
            }
        }
        let (slot, serial) =
            found.ok_or_else(|| absent("look at edge.vault.pkcs11.token", "no token has this label"))?;
        let session = module.open_rw_session(slot).map_err(failed("it opens no session"))?;
        match session.login(UserType::User, Some(&AuthPin::new(place.pin.as_str().into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(e) => return Err(failed("it refuses the PIN; look at edge.vault.pkcs11.pin_file")(e)),
        }
        let (key, mark) = find(&session, &place.key)?;
        let id = id_of("token", &[serial.as_bytes(), place.key.as_bytes(), &mark].join(&0));
        Ok(Self { id, key, session: Mutex::new(session), _module: module })
    }

    fn with<T>(
        &self,
        nonce: &mut [u8; NONCE],
        bound: &[u8],
        work: impl FnOnce(&Session, &Mechanism<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mechanism = Mechanism::AesGcm(GcmParams::new(nonce, bound, TAG_BITS.into())?);
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        work(&session, &mechanism)
    }
}

/// The key of a label, and its CKA_ID.
fn find(session: &Session, label: &str) -> Result<(ObjectHandle, Vec<u8>), VaultError> {
    let wanted = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let doing = "look at edge.vault.pkcs11.key";
    let found = session.find_objects(&wanted).map_err(failed(doing))?;
    let [key] = found[..] else {
        let what =
            if found.is_empty() { "no AES key has this label" } else { "several AES keys have this label" };
        return Err(absent(doing, what));
    };
    let attributes = session.get_attributes(key, &[AttributeType::Id]).map_err(failed(doing))?;
    let mark = attributes.into_iter().find_map(|a| if let Attribute::Id(id) = a { Some(id) } else { None });
    Ok((key, mark.unwrap_or_default()))
}

impl Master for Token {
    fn id(&self) -> &str {
        &self.id
    }

    fn wrap(&self, bound: &[u8], secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = *random::<NONCE>()?;
        let mut used = nonce;
        let wrapped = self
            .with(&mut used, bound, |session, mechanism| session.encrypt(mechanism, self.key, secret))
            .map_err(failed("it does not encrypt"))?;
        // Some tokens choose the nonce themselves.
        Ok([&used[..], &wrapped].concat())
    }

    fn unwrap(&self, bound: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let broken = || VaultError::Seal { what: "a wrapped key" };
        let (nonce, wrapped) = wrapped.split_first_chunk::<NONCE>().ok_or_else(broken)?;
        let mut nonce = *nonce;
        let opened =
            self.with(&mut nonce, bound, |session, mechanism| session.decrypt(mechanism, self.key, wrapped));
        opened.map(Zeroizing::new).map_err(|e| match e {
            // What a tag that does not match is called differs between makers; SoftHSM says CKR_GENERAL_ERROR or CKR_ENCRYPTED_DATA_INVALID.
            Error::Pkcs11(RvError::EncryptedDataInvalid | RvError::GeneralError, _) => broken(),
            e => failed("it does not decrypt")(e),
        })
    }
}
