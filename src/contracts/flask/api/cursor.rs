//! Cursors of `orders`: opaque to clients, and valid only with the filter of the page they belong
//! to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::domain::ids::OrderId;
use crate::domain::query::OrderFilter;
use crate::error::{Error, ErrorKind, Result};

/// The length of the truncated checksum, in bytes.
const CHECKSUM_BYTES: usize = 8;

/// The cursor after `order` in the list that `filter` selects.
pub(super) fn encode(order: OrderId, filter: &OrderFilter) -> String {
    let mut bytes = order.get().to_be_bytes().to_vec();
    bytes.extend(checksum(order, filter));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The order before a cursor.
pub(super) fn decode(cursor: &str, filter: &OrderFilter) -> Result<OrderId> {
    let refused = || {
        Error::new(
            ErrorKind::InvalidInput,
            "The cursor is not one of this list; take it from an answer with the same status and \
             userId.",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
    let (id, kept) = bytes.split_first_chunk().ok_or_else(refused)?;
    let id = i64::from_be_bytes(*id);
    let order = OrderId::parse(&id.to_string()).ok_or_else(refused)?;
    if checksum(order, filter) == kept { Ok(order) } else { Err(refused()) }
}

/// Binds a cursor to its filter. It needs no secret: a forged cursor gives access to nothing else.
fn checksum(order: OrderId, filter: &OrderFilter) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"orders:1\0");
    hash.update(order.get().to_be_bytes());
    hash.update(filter.status.map_or("", |status| status.as_str()));
    hash.update(b"\0");
    hash.update(filter.user.as_ref().map_or("", |user| user.as_str()));
    let digest: [u8; 32] = hash.finalize().into();
    let mut kept = [0; CHECKSUM_BYTES];
    kept.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::UserId;
    use crate::domain::status::OrderStatus;

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let all = OrderFilter::default();
        let shipped = OrderFilter { status: Some(OrderStatus::Shipped), ..OrderFilter::default() };
        let one = OrderFilter { user: UserId::parse("1").ok(), ..OrderFilter::default() };
        let order = OrderId::from_database(17);
        let cursor = encode(order, &all);
        assert_eq!(decode(&cursor, &all).unwrap(), order);
        assert!(decode(&cursor, &shipped).is_err());
        assert!(decode(&cursor, &one).is_err());
        let mut forged = cursor.clone().into_bytes();
        forged[10] = if forged[10] == b'A' { b'B' } else { b'A' };
        assert!(decode(std::str::from_utf8(&forged).unwrap(), &all).is_err());
        for forged in ["", "17", "AAAAAAAAAAA", "===", &cursor[..12], &format!("{cursor}AAAA")] {
            assert!(decode(forged, &all).is_err(), "{forged}");
        }
    }
}
