// Programmatic dependent launches: a kernel that starts before the one ahead of it has run.
#pragma once
#include <condition_variable>
#include <mutex>

namespace emu {

// Closed until the launch ahead is done; threads that call pdl_wait() wait at it.
class Gate {
 public:
  void arrive() { set(reached); }  // the kernel's first block can't go on, or the launch has ended
  void open() { set(opened); }
  void wait_for_arrival() { wait(reached); }
  void pass() {
    arrive();
    wait(opened);
  }
  bool is_open() {
    std::lock_guard<std::mutex> hold(lock);
    return opened;
  }

 private:
  void set(bool& flag) {
    std::lock_guard<std::mutex> hold(lock);
    flag = true;
    changed.notify_all();
  }
  void wait(const bool& flag) {
    std::unique_lock<std::mutex> hold(lock);
    changed.wait(hold, [&] { return flag; });
  }
  std::mutex lock;
  std::condition_variable changed;
  bool reached = false, opened = false;
};

}  // namespace emu

extern "C" {
emu::Gate* emu_gate_new() { return new emu::Gate(); }
void emu_gate_free(emu::Gate* gate) { delete gate; }
void emu_gate_open(emu::Gate* gate) { gate->open(); }
void emu_gate_wait_for_arrival(emu::Gate* gate) { gate->wait_for_arrival(); }
}
