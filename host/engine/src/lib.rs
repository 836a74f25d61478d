//! Plan, operators, windows, scheduler and checkpoint protocol of Millpond: pure logic over ports
