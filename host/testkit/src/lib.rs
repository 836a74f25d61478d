//! Fakes of the ports and the contract suites every adapter must pass
