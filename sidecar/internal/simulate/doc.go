// Package simulate runs whole replicas in a world made of nothing but memory:
// a simulated clock, network, database, apps and senders, all from one seed, in
// the manner of FoundationDB's and TigerBeetle's simulators. testing/synctest
// carries the clock. It has only tests.
//
// It owns the faults and the promise that is held against what happened: what
// was acknowledged is delivered, in its lane's order; nobody acknowledges what
// nobody has; when the faults stop, every lane opens; nothing becomes a dead
// letter that the app did not refuse. It must never be imported. docs/simulator.md
// says how to run it and how to read what it prints.
package simulate
