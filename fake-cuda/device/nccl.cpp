// The part of `libnccl.so.2` that the programs call, for processes on the make-believe devices of one machine.
//
// Sums go through the process of rank 0, in the order of ranks. As with the real one in its non-blocking mode, a call returns at once
// and is under way until `ncclCommGetAsyncError` says otherwise. What a GPU would not forgive is refused: a tensor of another device,
// a call while another is under way, a communicator used after its end.
//
// FAKE_NCCL_LOG: each process writes its calls to this file and `.RANK`. FAKE_NCCL_DIE=RANK:N: process RANK is killed in its Nth collective.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "memory.h"

namespace {

enum Result { kSuccess = 0, kInvalidArgument = 4, kInvalidUsage = 5, kRemoteError = 6, kInProgress = 7 };

struct Id {
  char bytes[128];
};

struct Config {
  size_t size;
  unsigned magic, version;
  int blocking;
};

struct Comm {
  int rank, size, device;
  std::vector<int> peers;  // of rank 0: all others, in order; of another: rank 0
  std::atomic<int> state{kInProgress};
  std::thread work;
  std::FILE* log = nullptr;
  int collectives = 0;

  void note(const std::string& line) {
    if (log == nullptr) return;
    std::fprintf(log, "%s\n", line.c_str());
    std::fflush(log);
  }
};

int listener = -1;

bool send_all(int socket, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = send(socket, at, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += sent, size -= sent;
  }
  return true;
}

bool receive_all(int socket, void* data, size_t size) {
  return size == 0 || recv(socket, data, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

sockaddr_in address_of(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = port;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool meet(Comm* comm, uint16_t port) {
  if (comm->rank == 0) {
    comm->peers.assign(comm->size - 1, -1);
    for (int count = 1; count < comm->size; ++count) {
      const int peer = accept(listener, nullptr, nullptr);
      int rank = 0;
      if (peer < 0 || !receive_all(peer, &rank, sizeof rank)) return false;
      comm->peers.at(rank - 1) = peer;
    }
    return true;
  }
  const int peer = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = address_of(port);
  comm->peers = {peer};
  return connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
         send_all(peer, &comm->rank, sizeof comm->rank);
}

template <class T>
bool sum(Comm* comm, T* values, size_t count) {
  const size_t size = count * sizeof(T);
  if (comm->rank > 0) return send_all(comm->peers[0], values, size) && receive_all(comm->peers[0], values, size);
  std::vector<T> other(count);
  for (const int peer : comm->peers) {
    if (!receive_all(peer, other.data(), size)) return false;
    for (size_t i = 0; i < count; ++i) values[i] += other[i];
  }
  for (const int peer : comm->peers)
    if (!send_all(peer, values, size)) return false;
  return true;
}

// The one root that is asked for is rank 0.
bool copy(Comm* comm, void* values, size_t size) {
  if (comm->rank > 0) return receive_all(comm->peers[0], values, size);
  for (const int peer : comm->peers)
    if (!send_all(peer, values, size)) return false;
  return true;
}

template <class Work>
int begin(Comm* comm, Work work) {
  if (comm->state != kSuccess) return kInvalidUsage;
  if (comm->work.joinable()) comm->work.join();
  int rank = 0, number = 0;
  const char* die = std::getenv("FAKE_NCCL_DIE");
  ++comm->collectives;
  if (die && std::sscanf(die, "%d:%d", &rank, &number) == 2 && rank == comm->rank && number == comm->collectives)
    raise(SIGKILL);
  comm->state = kInProgress;
  comm->work = std::thread([=] { comm->state = work() ? kSuccess : kRemoteError; });
  return kInProgress;
}

void end(Comm* comm, const char* how) {
  comm->note(how);
  for (const int peer : comm->peers) shutdown(peer, SHUT_RDWR);
  if (comm->work.joinable()) comm->work.join();
  for (const int peer : comm->peers) close(peer);
  if (comm->log) std::fclose(comm->log);
  delete comm;
}

bool is_of(const Comm* comm, const void* data) { return fake::is_device(data) && fake::device_of(data) == comm->device; }

}  // namespace

extern "C" {

const char* ncclGetErrorString(int result) {
  switch (result) {
    case kInvalidArgument: return "invalid argument";
    case kInvalidUsage: return "invalid usage";
    case kRemoteError: return "remote process exited or there was a network error";
    default: return "no error";
  }
}

int ncclGetUniqueId(Id* id) {
  listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = address_of(0);
  socklen_t size = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 64) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return kInvalidUsage;
  *id = {};
  std::memcpy(id->bytes, &address.sin_port, sizeof address.sin_port);
  return kSuccess;
}

int ncclCommInitRankConfig(Comm** out, int size, Id id, int rank, Config* config) {
  if (config->magic != 0xcafebeef || config->size < sizeof(Config) || config->blocking != 0) return kInvalidArgument;
  auto* comm = new Comm;
  comm->rank = rank, comm->size = size, comm->device = fake::current_device();
  if (const char* path = std::getenv("FAKE_NCCL_LOG"))
    comm->log = std::fopen((std::string(path) + "." + std::to_string(rank)).c_str(), "w");
  comm->note("init of " + std::to_string(size));
  uint16_t port = 0;
  std::memcpy(&port, id.bytes, sizeof port);
  comm->work = std::thread([=] { comm->state = meet(comm, port) ? kSuccess : kRemoteError; });
  *out = comm;
  return kInProgress;
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, Comm* comm, void*) {
  comm->note("all_reduce " + std::to_string(count) + (type == 8 ? " float64" : " float32"));
  if (from != to || !is_of(comm, to) || operation != 0 || (type != 7 && type != 8)) return kInvalidArgument;
  void* values = fake::twin(to);
  return begin(comm, [=] {
    return type == 8 ? sum(comm, static_cast<double*>(values), count) : sum(comm, static_cast<float*>(values), count);
  });
}

int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Comm* comm, void*) {
  comm->note("broadcast " + std::to_string(count) + (type == 8 ? " float64" : " float32"));
  if (from != to || !is_of(comm, to) || root != 0 || (type != 7 && type != 8)) return kInvalidArgument;
  void* values = fake::twin(to);
  return begin(comm, [=] { return copy(comm, values, count * (type == 8 ? 8 : 4)); });
}

int ncclCommGetAsyncError(Comm* comm, int* state) {
  *state = comm->state;
  return kSuccess;
}

int ncclCommAbort(Comm* comm) {
  end(comm, "abort");
  return kSuccess;
}

int ncclCommDestroy(Comm* comm) {
  const int state = comm->state;
  end(comm, "destroy");
  return state == kSuccess ? kSuccess : kInvalidUsage;
}

}  // extern "C"
