//! An upstream's response on its way to the client.

pub(in crate::proxy) mod amend;
pub(in crate::proxy) mod delivery;
pub(in crate::proxy) mod respond;
pub(in crate::proxy) mod responded;
pub(in crate::proxy) mod tunnel;
pub(in crate::proxy) mod window;
