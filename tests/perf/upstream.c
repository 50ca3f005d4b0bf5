/* The upstream of the benchmark: one thread, epoll, fixed answers, as little CPU as possible.
 *
 * It shares a core with the load generator, so what it costs is taken from neither proxy. A request
 * has no body or one of a known length; a target that starts with `/1mb` gets 1 MiB, one with `/1kb`
 * 1 KiB, all others 35 bytes. `/ws` switches to a protocol that looks the same.
 * Prints its port on stdout. Ends when stdin is closed. */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 4096, BUFFER = 16384, BIG = 1 << 20, KIB = 1 << 10 };

struct peer {
  int matched;       /* bytes of \r\n\r\n seen at the end of what was read */
  int head;          /* bytes of the target kept in `start` */
  char start[16];    /* the beginning of the request */
  int written;       /* bytes of the current line kept in `line` */
  char line[32];     /* the beginning of a line of the head, ended by 0 */
  long length;       /* of the body, as the head says */
  long body;         /* bytes of it that are still to come, once the head is over */
  const char *out;   /* the rest of the answer that is being written */
  size_t left;
};

static struct peer peers[MAX_FDS];
static char big[BIG + 128];
static size_t big_size;
static char kib[KIB + 128];
static size_t kib_size;
static const char small[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 35\r\n\r\n"
    "an answer of exactly 35 bytes, so.\n";

static const char switched[] =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

static void set_interest(int poll, int fd, unsigned events, int operation) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  epoll_ctl(poll, operation, fd, &event);
}

static int flush(int poll, int fd) {
  struct peer *peer = &peers[fd];
  while (peer->left) {
    ssize_t sent = send(fd, peer->out, peer->left, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) return -1;
      set_interest(poll, fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
      return 0;
    }
    peer->out += sent;
    peer->left -= (size_t)sent;
  }
  return 1;
}

static int answer(int poll, int fd) {
  struct peer *peer = &peers[fd];
  const char *target = memchr(peer->start, ' ', sizeof peer->start - 4);
  int wants_big = target && memcmp(target, " /1mb", 5) == 0;
  int wants_kib = target && memcmp(target, " /1kb", 5) == 0;
  int wants_switch = memcmp(peer->start, "GET /ws ", 8) == 0;
  peer->out = wants_switch ? switched : wants_big ? big : wants_kib ? kib : small;
  peer->left = wants_switch ? sizeof switched - 1 : wants_big ? big_size : wants_kib ? kib_size : sizeof small - 1;
  peer->head = peer->matched = 0;
  return flush(poll, fd);
}

static int read_requests(int poll, int fd) {
  static const char end[] = "\r\n\r\n";
  static char buffer[BUFFER];
  struct peer *peer = &peers[fd];
  ssize_t size = recv(fd, buffer, sizeof buffer, 0);
  if (size <= 0) return size < 0 && errno == EAGAIN ? 0 : -1;
  for (ssize_t i = 0; i < size; i++) {
    char c = buffer[i];
    if (peer->body) { /* the rest of it, or all there is */
      long here = size - i < peer->body ? size - i : peer->body;
      i += here - 1;
      if (!(peer->body -= here) && answer(poll, fd) < 0) return -1;
      continue;
    }
    if (c == '\n') {
      if (!strncasecmp(peer->line, "content-length:", 15)) peer->length = atol(peer->line + 15);
      memset(peer->line, 0, sizeof peer->line);
      peer->written = 0;
    } else if (peer->written < (int)sizeof peer->line - 1) {
      peer->line[peer->written++] = c;
    }
    if (peer->head < (int)sizeof peer->start) peer->start[peer->head++] = c;
    peer->matched = c == end[peer->matched] ? peer->matched + 1 : c == '\r';
    if (peer->matched != 4) continue;
    peer->body = peer->length;
    peer->length = peer->matched = 0;
    if (!peer->body && answer(poll, fd) < 0) return -1;
  }
  return 0;
}

static void accept_all(int poll, int listener) {
  for (;;) {
    int fd = accept4(listener, 0, 0, SOCK_NONBLOCK);
    if (fd < 0) return;
    if (fd >= MAX_FDS) {
      close(fd);
      continue;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    memset(&peers[fd], 0, sizeof peers[fd]);
    set_interest(poll, fd, EPOLLIN, EPOLL_CTL_ADD);
  }
}

static int open_listener(void) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) return -1;
  getsockname(listener, (struct sockaddr *)&address, &size);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return listener;
}

int main(void) {
  int poll = epoll_create1(0), listener = open_listener();
  if (poll < 0 || listener < 0) return 1;
  big_size = (size_t)snprintf(big, 128, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", BIG);
  memset(big + big_size, 'x', BIG);
  big_size += BIG;
  kib_size = (size_t)snprintf(kib, 128, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", KIB);
  memset(kib + kib_size, 'x', KIB);
  kib_size += KIB;
  set_interest(poll, listener, EPOLLIN, EPOLL_CTL_ADD);
  set_interest(poll, STDIN_FILENO, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_ADD);
  for (;;) {
    struct epoll_event events[256];
    int count = epoll_wait(poll, events, 256, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd, state = 0;
      if (fd == STDIN_FILENO) return 0;
      if (fd == listener) {
        accept_all(poll, listener);
        continue;
      }
      if (events[i].events & EPOLLOUT && (state = flush(poll, fd)) > 0)
        set_interest(poll, fd, EPOLLIN, EPOLL_CTL_MOD);
      if (state >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) state = read_requests(poll, fd);
      if (state < 0) close(fd);
    }
  }
}
